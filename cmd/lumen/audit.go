package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"lumen/audit"
	"lumen/config"
	"lumen/internal/durable"
	"lumen/internal/node"
)

// ask sends a request to the node of cfg's data folder, wherever that runs, and
// passes the answer to read.
func ask(ctx context.Context, cfg config.Config, method, path string, read func(io.Reader) error) (err error) {
	return withNode(ctx, cfg, func(a *node.Admin) error {
		body, err := a.Do(ctx, method, path, nil)
		if err != nil {
			return err
		}
		defer body.Close()
		return read(body)
	})
}

func auditShow(ctx context.Context, args []string) error {
	o := newOptions("audit show")
	from := o.String("from", "", "begin with the entry of this `number`")
	log := o.String("log", "", "which journal: `name` of the tenant, or node (default the tenant's)")
	format := o.String("format", "text", "`text`, json, dicom (audit messages in XML) or fhir (AuditEvent)")
	cfg, err := o.parse(args)
	if err != nil {
		return err
	}
	path := "/audit?" + url.Values{"from": {*from}, "log": {*log}, "format": {*format}}.Encode()
	return ask(ctx, cfg, "GET", path, func(r io.Reader) error {
		if _, err := io.Copy(os.Stdout, r); err != nil {
			return fmt.Errorf("show the journal: %w", err)
		}
		return nil
	})
}

// auditVerify reads the journals' files itself and trusts no running process.
func auditVerify(ctx context.Context, args []string) error {
	o := newOptions("audit verify")
	var keys keyList
	o.Var(&keys, "key", "public `key` that the first start printed; may be given for each journal")
	cfg, err := o.parse(args)
	if err != nil {
		return err
	}
	journals := filepath.Join(cfg.Data, "audit")
	entries, err := os.ReadDir(journals)
	if err != nil {
		return fmt.Errorf("find the journals: %w", err)
	}
	var failed error
	for _, e := range entries {
		origin := node.JournalOrigin(e.Name())
		report, err := audit.Verify(ctx, durable.OS(), filepath.Join(journals, e.Name()), keys[origin])
		if err != nil && !errors.Is(err, audit.ErrTampered) {
			return err
		}
		fmt.Print(report.String(), "\n")
		delete(keys, origin)
		if err != nil {
			failed = errors.New("a journal was tampered with")
		}
	}
	for origin := range keys {
		return errors.Join(failed, fmt.Errorf("there is no journal %s that the key would be for", origin))
	}
	return failed
}

// keyList collects verifier keys by the origin that each begins with.
type keyList map[string]string

func (l *keyList) String() string { return "" }

func (l *keyList) Set(key string) error {
	origin, _, ok := strings.Cut(key, "+")
	if !ok {
		return errors.New("a key is written NAME+HASH+BASE64")
	}
	if *l == nil {
		*l = keyList{}
	}
	(*l)[origin] = key
	return nil
}
