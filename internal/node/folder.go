package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"lumen/internal/durable"
)

// folderFormat is what DIR/format says. A node refuses a folder of another
// format rather than guessing. 0 until the first release.
const folderFormat = "0\n"

// ErrRunning says that another process has the data folder.
var ErrRunning = errors.New("another lumen process uses this data folder")

// Folder is a data folder that this process holds the lock of.
type Folder struct {
	root string
	lock *os.File

	// existing is set for what must not begin a new archive.
	existing bool
}

// OpenFolder takes the folder root, and makes it first when create is set. It
// returns ErrRunning when another process has it.
func OpenFolder(fsys durable.FS, root string, create bool) (*Folder, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	f := &Folder{root: root}
	if create {
		if err := fsys.MkdirAll(f.path("run"), 0o700); err != nil {
			return nil, fmt.Errorf("make the data folder: %w", err)
		}
	}
	if err := onlyOurs(root); err != nil {
		return nil, err
	}
	if f.lock, err = os.OpenFile(f.path("run", "lock"), os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return nil, fmt.Errorf("lock the data folder: %w", err)
	}
	if err := unix.Flock(int(f.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.lock.Close()
		return nil, ErrRunning
	}
	if err := f.checkFormat(fsys, create); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// Close gives the folder free for other processes.
func (f *Folder) Close() error { return f.lock.Close() }

func (f *Folder) path(parts ...string) string {
	return filepath.Join(append([]string{f.root}, parts...)...)
}

// onlyOurs refuses a folder that others can look into. One that we are to make
// has mode 0700 already.
func onlyOurs(root string) error {
	info, err := os.Stat(root)
	if err != nil {
		return fmt.Errorf("open the data folder: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return fmt.Errorf("the data folder %s has mode %04o: others could look into it; run chmod 700", root, mode)
	}
	return nil
}

func (f *Folder) checkFormat(fsys durable.FS, create bool) error {
	text, err := durable.ReadFile(fsys, f.path("format"), 64)
	switch {
	case errors.Is(err, fs.ErrNotExist) && create:
		if err := f.ours(fsys); err != nil {
			return err
		}
		return durable.WriteFile(fsys, f.path("format"), []byte(folderFormat), 0o600)
	case err != nil:
		return fmt.Errorf("read the format of the data folder: %w", err)
	case string(text) != folderFormat:
		return fmt.Errorf("the data folder has format %q, this binary knows %q",
			strings.TrimSpace(string(text)), strings.TrimSpace(folderFormat))
	}
	return nil
}

// ours refuses to make a data folder of one that has other content. What an
// interrupted first start or a restored backup left is ours.
func (f *Folder) ours(fsys durable.FS) error {
	entries, err := fsys.ReadDir(f.root)
	for _, e := range entries {
		switch name := e.Name(); name {
		case "audit", "blobs", "cache", "index", "keys", "run", "spool", "stage":
		default:
			if !strings.HasSuffix(name, durable.TempSuffix) {
				return fmt.Errorf("%s has other content, %s, and no format file: not a data folder of lumen", f.root, name)
			}
		}
	}
	return err
}

// Addresses are where a node listens, as DIR/run/addr.json has them.
type Addresses struct {
	DIMSE          string `json:"dimse,omitempty"`
	HTTP           string `json:"http,omitempty"`
	DIMSETLS       string `json:"dimse_tls,omitempty"`
	DIMSELegacyTLS string `json:"dimse_legacy_tls,omitempty"`
	HTTPS          string `json:"https,omitempty"`
}

// writeAddresses tells scripts where the node listens. The file is not removed
// at the end: whether the node runs is a matter of its lock and readiness.
func (f *Folder) writeAddresses(fsys durable.FS, a Addresses) error {
	text, err := json.Marshal(a)
	if err != nil {
		return err
	}
	return durable.WriteFile(fsys, f.path("run", "addr.json"), append(text, '\n'), 0o600)
}
