package config_test

import (
	"errors"
	"strings"
	"testing"

	"lumen/access"
	"lumen/config"
)

func TestTLSProblemsAreToldWithTheirKeys(t *testing.T) {
	for text, key := range map[string]string{
		"dimse: {tls: {certificate: x}}":                                      "dimse.tls.listen",
		"dimse: {tls: {listen: \"here\"}}":                                    "dimse.tls.listen",
		"dimse: {tls: {listen: \"127.0.0.1:0\"}}":                             "dimse.tls",
		"dimse: {tls: {listen: \"127.0.0.1:0\", certificate: no, key: no}}":   "dimse.tls",
		"dimse: {tls: {listen: \":2762\", certificate: no, key: no}}":         "dimse.tls.client_ca",
		"dimse: {legacy_tls: {listen: \":2763\", certificate: no, key: no}}":  "dimse.legacy_tls.client_ca",
		"http: {tls: {listen: \":8443\", certificate: no, key: no}}":          "http.clients",
		"http: {clients: [{certificates: [\"cn:x\"], rights: [query]}]}":      "http.clients[0].name",
		"http: {clients: [{name: x, rights: [query]}]}":                       "http.clients[0].certificates",
		"http: {clients: [{name: x, certificates: [x], rights: [query]}]}":    "http.clients[0].certificates[0]",
		"http: {clients: [{name: x, certificates: [\"cn:x\"]}]}":              "http.clients[0].rights",
		"aes: [{title: X, certificates: [\"sha256:00\"], rights: [echo]}]":    "aes[0].certificates[0]",
		"destinations: [{title: X, address: \"h:1\", tls: {name: x}}]":        "destinations[0].tls",
		"destinations: [{title: X, address: \"h:1\", tls: {ca: /none.pem}}]":  "destinations[0].tls",
		"destinations: [{title: X, address: \"h:1\", retries: 1000}]":         "destinations[0].retries",
		"dimse: {listen: \"192.0.2.1:104\", allow_plaintext: [192.0.2.0/99]}": "dimse.allow_plaintext[0]",
		"aes: [{title: X, rights: [echo], max_pdu: 1KiB}]":                    "aes[0].max_pdu",
		"aes: [{title: X, rights: [echo], character_set: latin1}]":            "aes[0].character_set",
		"aes: [{title: X, rights: [echo], transfer_syntaxes: [jpeg]}]":        "aes[0].transfer_syntaxes[0]",
		"aes: [{title: X, rights: [echo], conflicts: ignore}]":                "aes[0].conflicts",
		"dimse: {sop_classes: [CT]}":                                          "dimse.sop_classes[0]",
		"dimse: {users: [{passcode: \"env:LUMEN_NOT_SET\"}]}":                 "dimse.users[0].passcode",
		"http: {listen: off}": "http.listen",
	} {
		_, err := config.Load(write(t, text+"\n"), config.Flags{})
		var bad *config.Error
		found := false
		if errors.As(err, &bad) {
			for _, p := range bad.Problems {
				found = found || p.Key == key
			}
		}
		if !found {
			t.Errorf("%s: want a problem with %s, have %v", text, key, err)
		}
	}
}

func TestPlaintextListenersNeedNetworks(t *testing.T) {
	for text, ok := range map[string]bool{
		"dimse: {listen: \"0.0.0.0:104\"}":                                false,
		"dimse: {listen: \"0.0.0.0:104\", allow_plaintext: [10.0.0.0/8]}": true,
		"http: {listen: \":80\", allow_plaintext: [10.0.0.0/8]}":          true,
		"http: {listen: \"here:80\", allow_plaintext: [10.0.0.0/8]}":      false,
	} {
		if _, err := config.Load(write(t, text+"\n"), config.Flags{}); (err == nil) != ok {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestCertificatesBecomeAPolicy(t *testing.T) {
	c, err := config.Load(write(t, `
http: {clients: [{name: viewer, certificates: ["cn:Viewer 1"], rights: [query, retrieve]}]}
aes: [{title: TOWER, certificates: ["dns:Tower.example"], rights: [store]}]
`), config.Flags{})
	if err != nil {
		t.Fatal(err)
	}
	p := c.Policy()
	if p.Clients[0].Rights != access.Query|access.Retrieve || p.Clients[0].Certificates[0].String() != "cn:Viewer 1" ||
		!strings.Contains(p.AEs[0].Certificates[0].String(), "tower.example") {
		t.Errorf("%+v", p)
	}
}
