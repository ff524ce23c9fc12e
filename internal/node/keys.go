package node

import (
	"bytes"
	"context"
	"net/http"
	"strings"
	"time"

	"lumen/config"
	"lumen/store"
	"lumen/store/seal"
	"lumen/store/seal/backup"
)

// KeyStatus says where the root key is and whether it is anywhere else.
type KeyStatus struct {
	Provider string    `json:"provider"` // file or env
	Where    string    `json:"where"`    // path of the file, or name of the variable
	ID       string    `json:"id"`       // of the root key; tells nothing about it
	BackedUp bool      `json:"backed_up"`
	Waived   bool      `json:"waived"` // somebody decided to do without a backup
	Time     time.Time `json:"time"`   // of the backup, or of that decision
	// Recipients are the public keys that the backup was made for.
	Recipients []string `json:"recipients,omitempty"`
}

// rootPlace tells where the root key comes from: a path, or the name of an
// environment variable.
func rootPlace(cfg config.Config, folder *Folder) string {
	switch k := cfg.Keys.Root; {
	case k.Env != "":
		return k.Env
	case k.File != "":
		return k.File
	}
	return folder.path("keys", "root")
}

func (n *node) rootKey(ctx context.Context) (seal.Root, seal.Key, error) {
	root := rootKey(n.config, n.fs, n.folder)
	key, err := root.Key(ctx, false)
	return root, key, err
}

// keyStatus looks for the receipt of a backup.
func (n *node) keyStatus(ctx context.Context) (KeyStatus, error) {
	root, key, err := n.rootKey(ctx)
	if err != nil {
		return KeyStatus{}, err
	}
	receipt, found, err := backup.Find(ctx, n.blobs, key)
	if err != nil {
		return KeyStatus{}, err
	}
	n.backedUp.Store(found)
	return KeyStatus{
		Provider: root.Provider(), Where: rootPlace(n.config, n.folder), ID: key.ID().String(),
		BackedUp: found && !receipt.Waived, Waived: receipt.Waived, Time: receipt.Time, Recipients: receipt.Recipients,
	}, nil
}

// warnUntilBackedUp says at each start that the root key has no backup.
func (n *node) warnUntilBackedUp(ctx context.Context) error {
	s, err := n.keyStatus(ctx)
	if err != nil {
		return err
	}
	if !s.BackedUp && !s.Waived {
		n.log.Warn("the root key has no backup: without it nothing that is stored here can ever be opened; run `lumen keys backup`",
			"provider", s.Provider, "root_key", s.ID)
	}
	return nil
}

func (n *node) serveKeyStatus(w http.ResponseWriter, r *http.Request) {
	s, err := n.keyStatus(r.Context())
	if err != nil {
		n.log.Error("the keys' status is not known", "error", err)
		answer(w, http.StatusInternalServerError, err.Error())
		return
	}
	answerJSON(w, s)
}

// serveKeyBackup answers with a backup for the recipients. That it leaves is
// journaled first.
func (n *node) serveKeyBackup(w http.ResponseWriter, r *http.Request) {
	recipients := r.URL.Query()["recipient"]
	_, key, err := n.rootKey(r.Context())
	if err != nil {
		n.log.Error("the root key is not backed up", "error", err)
		answer(w, http.StatusInternalServerError, err.Error())
		return
	}
	var sealed bytes.Buffer
	if err := backup.Write(&sealed, key, time.Now(), recipients...); err != nil {
		answer(w, http.StatusUnprocessableEntity, err.Error())
		return
	}
	if !n.recordKeyEvent(w, r, key, "backup", recipients) {
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Write(sealed.Bytes()) // an error is the client's leaving
}

// serveKeyReceipt notes that a backup is where it should be, or that there is
// to be none.
func (n *node) serveKeyReceipt(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	receipt := backup.Receipt{Time: time.Now().UTC(), Recipients: q["recipient"], Waived: q.Get("waived") == "true"}
	if len(receipt.Recipients) == 0 && !receipt.Waived {
		answer(w, http.StatusUnprocessableEntity, "a backup for nobody is none")
		return
	}
	_, key, err := n.rootKey(r.Context())
	if err == nil {
		what := "backup kept"
		if receipt.Waived {
			what = "backup waived"
		}
		if !n.recordKeyEvent(w, r, key, what, receipt.Recipients) {
			return
		}
		err = backup.Record(r.Context(), n.blobs, key, receipt)
	}
	if err != nil {
		n.log.Error("a backup is not noted", "error", err)
		answer(w, http.StatusInternalServerError, err.Error())
		return
	}
	n.backedUp.Store(true)
	n.log.Info("the root key", "event", map[bool]string{false: "has a backup", true: "is to have no backup"}[receipt.Waived])
	answer(w, http.StatusOK, "noted")
}

// recordKeyEvent journals what is about to be done with the root key. When it
// cannot it answers and returns false.
func (n *node) recordKeyEvent(w http.ResponseWriter, r *http.Request, key seal.Key, what string, recipients []string) bool {
	_, err := n.own.Append(r.Context(), store.Event{
		Kind: store.EventKey, Principal: n.principal(r), Request: commandRequest(protocolKeys),
		Detail: map[string]string{"operation": what, "root_key": key.ID().String(), "recipients": strings.Join(recipients, " ")},
	})
	if err != nil {
		n.log.Error("a key operation cannot be recorded and is not done", "error", err)
		answer(w, http.StatusServiceUnavailable, store.ErrJournal.Error())
	}
	return err == nil
}
