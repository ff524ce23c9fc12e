// Command lumen is a DICOM network node for endoscopy.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"lumen/config"
)

// command is one thing that lumen does. Run gets what follows its name.
type command struct {
	name, args, help string
	run              func(ctx context.Context, args []string) error
}

func commands() []command {
	return []command{
		{"serve", "[--config FILE] [--data DIR] [--dimse ADDR] [--http ADDR]", "run the node until it is told to stop", serve},
		{"check", "[--data DIR]", "read every stored object and compare it with the index", check},
		{"audit verify", "[--data DIR] [--key PUBLICKEY]", "verify the journal", auditVerify},
		{"audit show", "[--data DIR] [--log NAME] [--from N] [--format text|json|dicom|fhir]", "print the journal with its payloads opened", auditShow},
		{"import", "[--data DIR] [--workers N] DIR|ZIP|FILE...", "take DICOM files in, as they are; run again, it goes on", importFiles},
		{"export", "[--data DIR] --study UID|--patient ID [--patient-issuer ISSUER] --to DIR|ZIP", "write Part 10 files and a DICOMDIR", exportFiles},
		{"index rebuild", "[--data DIR]", "make the index anew from the stored objects; the node must not run", indexRebuild},
		{"keys status", "[--data DIR]", "say where the root key is and whether it was backed up", keysStatus},
		{"keys backup", "[--data DIR] --recipient AGEKEY... --to FILE|- | --waive", "write the root key, encrypted, for whoever has the other half of an age key", keysBackup},
		{"keys restore", "[--data DIR] --identity FILE --from FILE|-", "put the root key of a backup into its place", keysRestore},
		{"echo", "[--as TITLE] [--tls ...] [TITLE@]HOST:PORT", "ask a DICOM node whether it is there", echo},
		{"send", "[--as TITLE] [--tls ...] [TITLE@]HOST:PORT FILE|DIR...", "push DICOM files to a node, as they are", send},
		{"find", "[--as TITLE] [--tls ...] [--level LEVEL] [TITLE@]HOST:PORT KEYWORD=VALUE...", "query a node; prints a line of DICOM JSON for each match", find},
		{"move", "[--as TITLE] [--tls ...] [--level LEVEL] --to TITLE [TITLE@]HOST:PORT KEYWORD=VALUE...", "have a node send to another one that it knows", moveTo},
		{"get", "[--as TITLE] [--tls ...] [--level LEVEL] --into DIR [TITLE@]HOST:PORT KEYWORD=VALUE...", "fetch from a node into files, whatever it has", getFiles},
		{"version", "", "say which lumen this is", version},
	}
}

// errUsage ends the process with code 2; what is wrong was printed already.
var errUsage = errors.New("usage")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	err := dispatch(ctx, os.Args[1:])
	stop()
	switch {
	case err == nil:
	case errors.Is(err, errUsage):
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, "lumen:", err)
		os.Exit(1)
	}
}

func dispatch(ctx context.Context, args []string) error {
	for _, c := range commands() {
		words := strings.Fields(c.name)
		if len(args) >= len(words) && strings.Join(args[:len(words)], " ") == c.name {
			return c.run(ctx, args[len(words):])
		}
	}
	out, err := os.Stderr, errUsage
	if len(args) == 1 && (args[0] == "help" || args[0] == "-h" || args[0] == "--help") {
		out, err = os.Stdout, nil
	}
	usage(out)
	return err
}

func usage(w io.Writer) {
	fmt.Fprintln(w, "usage:")
	for _, c := range commands() {
		fmt.Fprintf(w, "  lumen %s %s\n        %s\n", c.name, c.args, c.help)
	}
}

// options are the flags that commands on a data folder share.
type options struct {
	*flag.FlagSet
	configFile *string
	flags      config.Flags
}

func newOptions(name string) *options {
	o := &options{FlagSet: flag.NewFlagSet("lumen "+name, flag.ContinueOnError)}
	o.configFile = o.String("config", "", "configuration `file`")
	o.StringVar(&o.flags.Data, "data", "", "data `folder` (default data)")
	return o
}

// parse reads args, of which none may be left over, and then the configuration.
func (o *options) parse(args []string) (config.Config, error) {
	cfg, rest, err := o.parseArgs(args)
	if err == nil && len(rest) > 0 {
		fmt.Fprintf(os.Stderr, "%s: what is %q?\n", o.Name(), rest[0])
		return cfg, errUsage
	}
	return cfg, err
}

// parseArgs reads args, of which those that are no flags are left over, and
// then the configuration.
func (o *options) parseArgs(args []string) (cfg config.Config, rest []string, err error) {
	if rest, err = parseMixed(o.FlagSet, args); err != nil {
		return cfg, nil, err
	}
	cfg, err = config.Load(*o.configFile, o.flags)
	return cfg, rest, err
}

// parseMixed reads flags, which may come before and after the other arguments,
// and returns those.
func parseMixed(f *flag.FlagSet, args []string) (rest []string, err error) {
	for {
		if err := f.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				os.Exit(0)
			}
			return nil, errUsage
		}
		if f.NArg() == 0 {
			return rest, nil
		}
		rest = append(rest, f.Arg(0))
		args = f.Args()[1:]
	}
}
