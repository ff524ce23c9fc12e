package scp

import (
	"context"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"lumen/dimse"
	"lumen/dimse/pdu"
)

// Users are the user identities that a peer may give with its association
// (PS3.7 annex D.3.3.7). Once there are any, an identity that is given is
// checked, and on a connection that is not encrypted it is refused beyond the
// loopback interface: a passcode has crossed the network in clear then. Peers
// that give none are judged by their title and address alone.
type Users struct {
	// Passcodes holds what [HashPasscode] made, by user name. An empty one lets
	// the name alone suffice (identity type 1).
	Passcodes map[string]string

	// Verify decides on Kerberos tickets, SAML assertions and JSON web tokens
	// (types 3 to 5). An error refuses the association; it goes into the log, so
	// it must not hold any of them. Nil refuses all.
	Verify func(ctx context.Context, id *pdu.UserIdentity) (Verified, error)
}

// Verified is what was found out about a user identity.
type Verified struct {
	User     string // who it is, for the journal
	Response []byte // to the peer, if it asked for one (PS3.7 table D.3-15); nil is an empty one
}

func (u Users) none() bool { return len(u.Passcodes) == 0 && u.Verify == nil }

var (
	errIdentityInClear = errors.New("user identity on a connection that is not encrypted")
	errIdentity        = errors.New("user identity is not accepted")
)

// check looks at the identity of a request and sets its response. The name is
// "" when there is no identity to look at.
func (u Users) check(ctx context.Context, rq *dimse.AssociateRequest) (name string, err error) {
	id := rq.Identity
	if id == nil || u.none() {
		return "", nil
	}
	if rq.Plaintext && !rq.Remote.Addr().IsLoopback() {
		return "", errIdentityInClear
	}
	v, err := u.verify(ctx, id)
	if err != nil {
		return "", err
	}
	if rq.IdentityResponse = v.Response; v.Response == nil {
		rq.IdentityResponse = []byte{}
	}
	return v.User, nil
}

func (u Users) verify(ctx context.Context, id *pdu.UserIdentity) (Verified, error) {
	switch id.Type {
	case pdu.IdentityUser, pdu.IdentityPasscode:
		hash, known := u.Passcodes[string(id.Primary)]
		switch {
		case id.Type == pdu.IdentityUser && known && hash == "":
		case id.Type == pdu.IdentityPasscode && samePasscode(hash, id.Secondary) && known:
		default:
			return Verified{}, errIdentity
		}
		return Verified{User: string(id.Primary)}, nil
	case pdu.IdentityKerberos, pdu.IdentitySAML, pdu.IdentityJWT:
		if u.Verify == nil {
			break
		}
		v, err := u.Verify(ctx, id)
		if err != nil {
			return Verified{}, fmt.Errorf("%w: %w", errIdentity, err)
		}
		return v, nil
	}
	return Verified{}, errIdentity
}

// passcodeRounds costs about 50 ms: enough to make guessing dear, little enough
// for an association.
const passcodeRounds = 200_000

const passcodeScheme = "pbkdf2-sha256"

// HashPasscode makes what [Users].Passcodes holds of a passcode.
func HashPasscode(passcode []byte) string {
	salt := make([]byte, 16)
	rand.Read(salt)
	return hashPasscode(passcode, salt, passcodeRounds)
}

func hashPasscode(passcode, salt []byte, rounds int) string {
	key, err := pbkdf2.Key(sha256.New, string(passcode), salt, rounds, sha256.Size)
	if err != nil {
		panic(err) // the length is one that the hash has
	}
	e := base64.RawStdEncoding
	return strings.Join([]string{passcodeScheme, strconv.Itoa(rounds), e.EncodeToString(salt), e.EncodeToString(key)}, "$")
}

// samePasscode compares in a time that does not tell whether the user exists.
func samePasscode(hash string, passcode []byte) bool {
	part := strings.Split(hash, "$")
	rounds, salt := passcodeRounds, []byte("nobody")
	if len(part) == 4 && part[0] == passcodeScheme {
		n, err := strconv.Atoi(part[1])
		s, err2 := base64.RawStdEncoding.DecodeString(part[2])
		if err == nil && err2 == nil && n > 0 {
			rounds, salt = n, s
		}
	}
	return subtle.ConstantTimeCompare([]byte(hashPasscode(passcode, salt, rounds)), []byte(hash)) == 1
}
