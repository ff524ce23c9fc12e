package node

import (
	"fmt"

	"lumen/config"
	"lumen/scp"
)

// quirks are those of the configured AEs, by position.
func quirks(aes []config.AE) []scp.Quirks {
	list := make([]scp.Quirks, len(aes))
	for i, ae := range aes {
		list[i] = scp.Quirks{MaxPDU: int(ae.MaxPDU), CharacterSet: ae.CharacterSet, TransferSyntaxes: ae.TransferSyntaxes}
		switch ae.Conflicts {
		case "warn":
			list[i].Conflicts = scp.Warn
		case "refuse":
			list[i].Conflicts = scp.Refuse
		}
	}
	return list
}

// destinations are those of C-MOVE, by title.
func destinations(list []config.Destination) (map[string]scp.Destination, error) {
	all := map[string]scp.Destination{}
	for _, d := range list {
		secure, err := d.TLS.Config()
		if err != nil {
			return nil, fmt.Errorf("certificates for a destination: %w", err)
		}
		all[d.Title] = scp.Destination{Address: d.Address, TLS: secure, Tries: int(d.Retries) + 1}
	}
	return all, nil
}

// users reads the passcodes, of which only hashes are kept.
func users(list []config.User) (scp.Users, error) {
	u := scp.Users{Passcodes: map[string]string{}}
	for _, user := range list {
		hash := ""
		if user.Passcode != (config.Secret{}) {
			passcode, err := user.Passcode.Read()
			if err != nil {
				return scp.Users{}, fmt.Errorf("passcode of a user: %w", err)
			}
			hash = scp.HashPasscode([]byte(passcode))
		}
		u.Passcodes[user.Name] = hash
	}
	return u, nil
}
