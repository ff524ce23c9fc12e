package config

import (
	"crypto/x509"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"time"

	"lumen/access"
)

// Config is everything that can be set. [Default] is safe on a laptop.
type Config struct {
	Data            string        `yaml:"data"`             // the data folder
	ShutdownTimeout Duration      `yaml:"shutdown_timeout"` // how long accepted work may take to finish
	DIMSE           DIMSE         `yaml:"dimse"`
	HTTP            HTTP          `yaml:"http"`
	Storage         Storage       `yaml:"storage"`
	Audit           Audit         `yaml:"audit"`
	Keys            Keys          `yaml:"keys"`
	Log             Log           `yaml:"log"`
	Limits          Limits        `yaml:"limits"`
	AEs             []AE          `yaml:"aes"`          // who may call; none: anyone on the loopback interface
	Destinations    []Destination `yaml:"destinations"` // where C-MOVE may send to
}

// DIMSE are the DICOM upper layer listeners.
type DIMSE struct {
	Listen         string         `yaml:"listen"`          // HOST:PORT; port 0 picks one; or off
	AllowPlaintext []netip.Prefix `yaml:"allow_plaintext"` // networks that may connect in clear when that is not on the loopback interface
	AETitle        string         `yaml:"ae_title"`        // what we call ourselves
	TLS            TLS            `yaml:"tls"`             // BCP 195 profile
	LegacyTLS      TLS            `yaml:"legacy_tls"`      // the retired AES profile too
	SOPClasses     []string       `yaml:"sop_classes"`     // UIDs of private classes to store
	Specialized    bool           `yaml:"specialized"`     // store other classes that peers declare to be kinds of those that are stored
	Users          []User         `yaml:"users"`           // identities that peers may give
}

// User is an identity that a peer may give with its association.
type User struct {
	Name     string `yaml:"name"`
	Passcode Secret `yaml:"passcode"` // left out: the name alone suffices
}

// HTTP are the listeners for DICOMweb, metrics and health.
type HTTP struct {
	Listen         string         `yaml:"listen"`          // HOST:PORT; port 0 picks one; or off
	AllowPlaintext []netip.Prefix `yaml:"allow_plaintext"` // networks that may read metrics and health in clear
	Hosts          []string       `yaml:"hosts"`           // names accepted in the Host header besides localhost and the address
	TLS            TLS            `yaml:"tls"`
	Clients        []Client       `yaml:"clients"` // who may use DICOMweb over TLS
}

// Client is an HTTP client, known by its certificate.
type Client struct {
	Name         string                   `yaml:"name"`
	Certificates []access.CertificateName `yaml:"certificates"`
	Rights       []string                 `yaml:"rights"` // store, query, retrieve
}

// Storage is what the archive needs of its disk.
type Storage struct {
	MinFree        Size   `yaml:"min_free"`         // ingest is refused below this much free space ...
	MinFreePercent int64  `yaml:"min_free_percent"` // ... or below this share of the disk, whichever is more
	WriteLog       Size   `yaml:"write_log"`        // what small objects are written to first; 0: none, each is a file at once
	Bucket         Bucket `yaml:"bucket"`           // without an endpoint objects stay in the data folder
}

// Bucket is where objects go from the spool in the data folder.
type Bucket struct {
	Endpoint       string   `yaml:"endpoint"`        // HOST, HOST:PORT or https://HOST; http:// is without TLS
	AllowPlaintext bool     `yaml:"allow_plaintext"` // http:// off the loopback interface, too
	CA             string   `yaml:"ca"`              // PEM file of who signs the server's certificate; empty: the system's
	Region         string   `yaml:"region"`
	Name           string   `yaml:"name"`
	Prefix         string   `yaml:"prefix"` // of all keys: empty, or ending in /
	AccessKey      Secret   `yaml:"access_key"`
	SecretKey      Secret   `yaml:"secret_key"`
	VirtualHost    bool     `yaml:"virtual_host"` // the bucket's name is in the host's, not in the path
	Ack            string   `yaml:"ack"`          // spool: success once an object is durable here; bucket: there
	HighWater      Size     `yaml:"high_water"`   // ingest is refused when so much is waiting for its upload
	Grace          Duration `yaml:"grace"`        // how long a copy stays here after its upload
	Workers        int64    `yaml:"workers"`      // uploads at once
}

// URL is the endpoint with its scheme, which is https where none is given.
func (b Bucket) URL() string {
	if b.Endpoint == "" || strings.Contains(b.Endpoint, "://") {
		return b.Endpoint
	}
	return "https://" + b.Endpoint
}

// Roots are the authorities that may sign the server's certificate; nil means
// the system's.
func (b Bucket) Roots() (*x509.CertPool, error) {
	if b.CA == "" {
		return nil, nil
	}
	text, err := os.ReadFile(b.CA)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s has no certificate in PEM form", b.CA)
	}
	return pool, nil
}

// Audit is the shape of the journal's files.
type Audit struct {
	SegmentSize Size  `yaml:"segment_size"` // a segment is allocated ahead, filled, and never written again
	Reserve     int64 `yaml:"reserve"`      // segments kept allocated ahead
}

// Keys says where the root key is.
type Keys struct {
	Root Secret `yaml:"root"` // empty: DATA/keys/root, made at the first start
}

// Log is what the node says on standard error.
type Log struct {
	Level  string `yaml:"level"`  // debug, info, warn or error
	Format string `yaml:"format"` // text or json
}

// AE is a peer that may call. Several entries may share a title.
type AE struct {
	Title        string                   `yaml:"title"`
	Addresses    []netip.Prefix           `yaml:"addresses"`    // empty: any
	Certificates []access.CertificateName `yaml:"certificates"` // empty: any, or none
	Rights       []string                 `yaml:"rights"`       // echo, store, query, retrieve

	MaxPDU           Size     `yaml:"max_pdu"`           // the longest to be announced to it and sent; 0: as to all
	CharacterSet     string   `yaml:"character_set"`     // of its data sets and queries that name none
	TransferSyntaxes []string `yaml:"transfer_syntaxes"` // UIDs to choose where it offers them, best first
	Conflicts        string   `yaml:"conflicts"`         // quarantine, warn or refuse; empty: quarantine
}

// Destination is a peer that C-MOVE may send to.
type Destination struct {
	Title   string         `yaml:"title"`
	Address string         `yaml:"address"` // HOST:PORT
	Retries int64          `yaml:"retries"` // of a sub-operation, each on a new association
	TLS     DestinationTLS `yaml:"tls"`
}

func (d *Destination) setDefaults() { d.Retries = 2 }

// Default is the configuration of a node that was told nothing.
func Default() Config {
	return Config{
		Data:            "data",
		ShutdownTimeout: Duration(30 * time.Second),
		DIMSE:           DIMSE{Listen: "127.0.0.1:11112", AETitle: "LUMEN", Specialized: true},
		HTTP:            HTTP{Listen: "127.0.0.1:8104"},
		Storage: Storage{MinFree: 2 << 30, MinFreePercent: 5, WriteLog: 512 << 20, Bucket: Bucket{
			Region: "us-east-1", Ack: "spool", HighWater: 64 << 30, Grace: Duration(time.Hour), Workers: 4,
		}},
		Audit:  Audit{SegmentSize: 64 << 20, Reserve: 2},
		Limits: DefaultLimits(),
		Log:    Log{Level: "info", Format: "text"},
	}
}

// Flags are the values of command line flags; empty means not given.
type Flags struct {
	Data, DIMSE, HTTP string
}

// Load reads file (none when its name is empty) over the defaults and the
// flags over that. What is wrong comes back together as an [*Error].
func Load(file string, flags Flags) (Config, error) {
	var text []byte
	if file != "" {
		var err error
		if text, err = os.ReadFile(file); err != nil {
			return Config{}, fmt.Errorf("read the configuration: %w", err)
		}
	}
	return parse(file, text, flags)
}

func parse(file string, text []byte, flags Flags) (Config, error) {
	c := Default()
	d := decoder{lines: map[string]int{}}
	d.document(text, &c)
	for _, f := range []struct {
		name, key, value string
		to               *string
	}{
		{"--data", "data", flags.Data, &c.Data},
		{"--dimse", "dimse.listen", flags.DIMSE, &c.DIMSE.Listen},
		{"--http", "http.listen", flags.HTTP, &c.HTTP.Listen},
	} {
		if f.value != "" {
			*f.to = f.value
			d.flag(f.key, f.name)
		}
	}
	validate(&c, d.problem)
	if len(d.problems) > 0 {
		return Config{}, &Error{File: file, Problems: d.sorted()}
	}
	return c, nil
}

// Policy is the access policy that the lists of AEs and clients describe.
func (c Config) Policy() access.Policy {
	var p access.Policy
	for _, ae := range c.AEs {
		p.AEs = append(p.AEs, access.AE{Title: ae.Title, Addresses: ae.Addresses, Certificates: ae.Certificates, Rights: rights(ae.Rights)})
	}
	for _, client := range c.HTTP.Clients {
		p.Clients = append(p.Clients, access.Client{Name: client.Name, Certificates: client.Certificates, Rights: rights(client.Rights)})
	}
	return p
}

func rights(names []string) (all access.Right) {
	for _, name := range names {
		right, _ := access.ParseRight(name) // validate has read it before
		all |= right
	}
	return all
}
