package main

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"strings"

	"lumen/config"
	"lumen/internal/scu"
)

// peerOptions are the flags of commands that call another node. The first
// argument is its address, with its AE title where it wants one: TITLE@HOST:PORT.
type peerOptions struct {
	*flag.FlagSet
	calling  string
	useTLS   bool
	tls      config.DestinationTLS
	user     string
	passcode string
}

func newPeerOptions(name string) *peerOptions {
	o := &peerOptions{FlagSet: flag.NewFlagSet("lumen "+name, flag.ContinueOnError)}
	o.StringVar(&o.calling, "as", "LUMEN", "our AE `title`")
	o.BoolVar(&o.useTLS, "tls", false, "connect with TLS; the flags below imply it")
	o.StringVar(&o.tls.CA, "ca", "", "`file` with the CAs that may have signed the peer's certificate (default the system's)")
	o.StringVar(&o.tls.Name, "tls-name", "", "`name` in the peer's certificate (default the host of its address)")
	o.StringVar(&o.tls.Certificate, "cert", "", "`file` with our certificate, where the peer asks for one")
	o.StringVar(&o.tls.Key, "key", "", "`file` with the certificate's private key")
	o.StringVar(&o.user, "user", "", "`name` of the user that the peer is told of")
	o.StringVar(&o.passcode, "passcode", "", "where the user's passcode is: `file:PATH or env:NAME`")
	return o
}

func (o *peerOptions) parse(args []string) (scu.Peer, []string, error) {
	args, err := parseMixed(o.FlagSet, args)
	if err != nil {
		return scu.Peer{}, nil, err
	}
	if len(args) == 0 {
		fmt.Fprintf(os.Stderr, "%s: which peer? [TITLE@]HOST:PORT\n", o.Name())
		return scu.Peer{}, nil, errUsage
	}
	title, addr, found := strings.Cut(args[0], "@")
	if !found {
		title, addr = "ANY-SCP", args[0]
	}
	if _, _, err := net.SplitHostPort(addr); err != nil {
		return scu.Peer{}, nil, fmt.Errorf("%q is not [TITLE@]HOST:PORT", args[0])
	}
	p := scu.Peer{Address: addr, CalledAE: title, CallingAE: o.calling}
	return p, args[1:], o.secure(&p)
}

// secure adds what proves to the peer who we are, and to us who it is.
func (o *peerOptions) secure(p *scu.Peer) (err error) {
	if o.useTLS || o.tls != (config.DestinationTLS{}) {
		if p.TLS, err = o.tls.Client(); err != nil {
			return err
		}
	}
	p.Identity.User = o.user
	if o.passcode == "" {
		return nil
	}
	if o.user == "" {
		return errors.New("whose passcode? --user NAME")
	}
	var from config.Secret
	if err := from.UnmarshalText([]byte(o.passcode)); err != nil {
		return fmt.Errorf("--passcode: %w", err)
	}
	if p.Identity.Passcode, err = from.Read(); err == nil && p.Identity.Passcode == "" {
		err = errors.New("the passcode is empty")
	}
	return err
}
