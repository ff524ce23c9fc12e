package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"lumen/access"
)

// The smallest journal segment: room for the largest record and its frame.
const minSegment = 256 << 10

// minWriteLog leaves each of its segments more room than one object takes.
const minWriteLog = 16 << 20

// validate checks what the types alone do not.
func validate(c *Config, problem func(key, format string, args ...any)) {
	if c.Data == "" {
		problem("data", "the data folder needs a name")
	}
	validateListeners(c, problem)
	aeTitle(c.DIMSE.AETitle, "dimse.ae_title", problem)
	if p := c.Storage.MinFreePercent; p < 0 || p > 99 {
		problem("storage.min_free_percent", "%d is not between 0 and 99", p)
	}
	if l := c.Storage.WriteLog; l != 0 && l < minWriteLog {
		problem("storage.write_log", "%s is less than %s, and not 0", l, Size(minWriteLog))
	}
	if c.Audit.SegmentSize < minSegment {
		problem("audit.segment_size", "%s is less than %s", c.Audit.SegmentSize, Size(minSegment))
	}
	if r := c.Audit.Reserve; r < 1 || r > 16 {
		problem("audit.reserve", "%d is not between 1 and 16", r)
	}
	if f := c.Keys.Root.File; f != "" {
		if _, err := os.Stat(f); err != nil {
			problem("keys.root", "the file is not there: a root key elsewhere than in the data folder is made by you")
		}
	}
	if e := c.Keys.Root.Env; e != "" && os.Getenv(e) == "" {
		problem("keys.root", "the environment variable %s is not set", e)
	}
	validateLimits(c.Limits, problem)
	validateBucket(c.Storage.Bucket, problem)
	oneOf("log.level", c.Log.Level, []string{"debug", "info", "warn", "error"}, problem)
	oneOf("log.format", c.Log.Format, []string{"text", "json"}, problem)
	validateAEs(c, problem)
}

// minHighWater leaves room for some images at least.
const minHighWater = 64 << 20

var bucketPrefix = regexp.MustCompile(`^(?:[a-z0-9-]{1,64}/){0,8}$`)

func validateBucket(b Bucket, problem func(key, format string, args ...any)) {
	if b.Endpoint == "" {
		return
	}
	switch u, err := url.Parse(b.URL()); {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") != "" || u.User != nil || u.RawQuery != "":
		problem("storage.bucket.endpoint", "write HOST, HOST:PORT or http://HOST:PORT, without a path or a key") // which it may hold
	case u.Scheme == "http" && !b.AllowPlaintext && !loopbackHost(u.Hostname()):
		problem("storage.bucket.endpoint", "without TLS others can see and change what goes to the bucket: use https, or set allow_plaintext")
	}
	if _, err := b.Roots(); err != nil {
		problem("storage.bucket.ca", "%s", err)
	}
	if b.Name == "" {
		problem("storage.bucket.name", "the bucket needs a name")
	}
	if !bucketPrefix.MatchString(b.Prefix) {
		problem("storage.bucket.prefix", "%q is not empty, nor of lower-case letters, digits, - and /, ending in /", b.Prefix)
	}
	for key, s := range map[string]Secret{"storage.bucket.access_key": b.AccessKey, "storage.bucket.secret_key": b.SecretKey} {
		if s.isZero() {
			problem(key, "needed for a bucket: file:PATH or env:NAME")
		} else if _, err := s.Read(); err != nil {
			problem(key, "%s", err)
		}
	}
	oneOf("storage.bucket.ack", b.Ack, []string{"spool", "bucket"}, problem)
	if b.HighWater < minHighWater {
		problem("storage.bucket.high_water", "%s is less than %s", b.HighWater, Size(minHighWater))
	}
	if b.Workers < 1 || b.Workers > 64 {
		problem("storage.bucket.workers", "%d is not between 1 and 64", b.Workers)
	}
}

func validateAEs(c *Config, problem func(key, format string, args ...any)) {
	for i, ae := range c.AEs {
		key := fmt.Sprintf("aes[%d]", i)
		aeTitle(ae.Title, key+".title", problem)
		validateRights(ae.Rights, key, problem)
		validateQuirks(ae, key, problem)
	}
	for i, uid := range c.DIMSE.SOPClasses {
		if !validUID(uid) {
			problem(fmt.Sprintf("dimse.sop_classes[%d]", i), "%q is not a UID", uid)
		}
	}
	for i, u := range c.DIMSE.Users {
		key := fmt.Sprintf("dimse.users[%d]", i)
		if u.Name == "" {
			problem(key+".name", "the user needs a name")
		}
		if !u.Passcode.isZero() {
			if _, err := u.Passcode.Read(); err != nil {
				problem(key+".passcode", "%s", err)
			}
		}
	}
	for i, client := range c.HTTP.Clients {
		key := fmt.Sprintf("http.clients[%d]", i)
		if client.Name == "" {
			problem(key+".name", "the client needs a name: the journal tells who asked")
		}
		if len(client.Certificates) == 0 {
			problem(key+".certificates", "nothing tells this client from others: name its certificate")
		}
		validateRights(client.Rights, key, problem)
	}
	for i, d := range c.Destinations {
		key := fmt.Sprintf("destinations[%d]", i)
		aeTitle(d.Title, key+".title", problem)
		if slices.ContainsFunc(c.Destinations[:i], func(o Destination) bool { return o.Title == d.Title }) {
			problem(key+".title", "%q is the title of an earlier destination", d.Title)
		}
		if host, port, err := net.SplitHostPort(d.Address); err != nil || host == "" || !validPort(port) || port == "0" {
			problem(key+".address", "%q is not HOST:PORT", d.Address)
		}
		if d.Retries < 0 || d.Retries > 100 {
			problem(key+".retries", "%d is not between 0 and 100", d.Retries)
		}
		if _, err := d.TLS.Config(); err != nil {
			problem(key+".tls", "%s", err)
		}
	}
}

// conflicts are what an AE may be answered that stores other content under a
// known SOP Instance UID.
var conflicts = []string{"", "quarantine", "warn", "refuse"}

// minPDU is the shortest PDU length that DCMTK, on which many devices are
// built, takes.
const minPDU = 4 << 10

func validateQuirks(ae AE, key string, problem func(key, format string, args ...any)) {
	if ae.MaxPDU != 0 && ae.MaxPDU < minPDU {
		problem(key+".max_pdu", "%s is less than %s", ae.MaxPDU, Size(minPDU))
	}
	if cs := ae.CharacterSet; cs != "" && !validTerm.MatchString(cs) {
		problem(key+".character_set", "%q is not a defined term of (0008,0005), as in ISO_IR 100", cs)
	}
	for i, uid := range ae.TransferSyntaxes {
		if !validUID(uid) {
			problem(fmt.Sprintf("%s.transfer_syntaxes[%d]", key, i), "%q is not a UID", uid)
		}
	}
	oneOf(key+".conflicts", ae.Conflicts, conflicts, problem)
}

var validTerm = regexp.MustCompile(`^(ISO_IR \d+|ISO 2022 IR \d+|GB18030|GBK)$`)

var uidSyntax = regexp.MustCompile(`^[0-9]+(\.[0-9]+)+$`)

func validUID(s string) bool { return len(s) <= 64 && uidSyntax.MatchString(s) }

// validateRights checks the rights of the peer at key.
func validateRights(names []string, key string, problem func(key, format string, args ...any)) {
	if len(names) == 0 {
		problem(key+".rights", "a peer without rights can do nothing: name some")
	}
	for i, name := range names {
		if r, err := access.ParseRight(name); err != nil {
			problem(fmt.Sprintf("%s.rights[%d]", key, i), "%s", err)
		} else if r == access.Admin {
			problem(fmt.Sprintf("%s.rights[%d]", key, i), "admin is for commands on this machine, not for a peer")
		}
	}
}

func loopbackHost(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}

func validPort(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && strconv.FormatUint(n, 10) == port
}

// aeTitle checks an AE title as in PS3.5 section 6.2: at most 16 characters of
// the default repertoire, no backslash or control, not only spaces. Spaces at
// the ends are not significant, so we refuse them to keep comparing simple.
func aeTitle(title, key string, problem func(key, format string, args ...any)) {
	bad := strings.ContainsFunc(title, func(r rune) bool { return r < ' ' || r > '~' || r == '\\' })
	if title == "" || len(title) > 16 || bad || strings.TrimSpace(title) != title {
		problem(key, "%q is not an AE title: 1 to 16 characters of ASCII, no backslash, no space at the ends", title)
	}
}

func oneOf(key, value string, allowed []string, problem func(key, format string, args ...any)) {
	if !slices.Contains(allowed, value) {
		problem(key, "%q is not one of %s", value, strings.Join(allowed, ", "))
	}
}
