package scp_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/dimse"
	"lumen/scp"
)

// The transfer syntaxes that DCMTK's storescu can propose.
var dcmtkSyntaxes = map[string]string{
	"-xe": dicom.ExplicitVRLittleEndian, "-xb": dicom.ExplicitVRBigEndian, "-xi": dicom.ImplicitVRLittleEndian,
	"-xd": dicom.DeflatedExplicitVRLittleEndian, "-xs": "1.2.840.10008.1.2.4.70", "-xy": "1.2.840.10008.1.2.4.50",
	"-xx": "1.2.840.10008.1.2.4.51", "-xv": "1.2.840.10008.1.2.4.90", "-xw": "1.2.840.10008.1.2.4.91",
	"-xt": "1.2.840.10008.1.2.4.80", "-xu": "1.2.840.10008.1.2.4.81", "-xm": "1.2.840.10008.1.2.4.100",
	"-xh": "1.2.840.10008.1.2.4.101", "-xn": "1.2.840.10008.1.2.4.102", "-xl": "1.2.840.10008.1.2.4.103",
	"-x2": "1.2.840.10008.1.2.4.104", "-x3": "1.2.840.10008.1.2.4.105", "-xo": "1.2.840.10008.1.2.4.106",
	"-x4": "1.2.840.10008.1.2.4.107", "-x5": "1.2.840.10008.1.2.4.108", "-xr": "1.2.840.10008.1.2.5",
}

// inSyntax encodes a data set, with one fragment of noise for pixels where the
// syntax encapsulates them.
func inSyntax(t *testing.T, d *dicom.DataSet, uid string) []byte {
	t.Helper()
	ts, ok := dicom.LookupTransferSyntax(uid)
	if !ok {
		t.Fatal(uid)
	}
	if !ts.Encapsulated {
		b, err := d.Encode(ts)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	d.Delete(dict.PixelData)
	b := encode(t, d)
	b = append(b, 0xe0, 0x7f, 0x10, 0, 'O', 'B', 0, 0, 0xff, 0xff, 0xff, 0xff)
	b = append(b, 0xfe, 0xff, 0x00, 0xe0, 0, 0, 0, 0)             // no offset table
	b = append(b, 0xfe, 0xff, 0x00, 0xe0, 4, 0, 0, 0, 1, 2, 3, 4) // one fragment
	return append(b, 0xfe, 0xff, 0xdd, 0xe0, 0, 0, 0, 0)
}

// digest is what two encodings of one data set have in common.
func digest(t *testing.T, b []byte, uid string) [32]byte {
	t.Helper()
	ts, _ := dicom.LookupTransferSyntax(uid)
	s, err := dicom.ScanDataSet(bytes.NewReader(b), ts, dicom.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	return s.Digest
}

// DCMTK stores an instance in each syntax that it knows, and gets all of them
// back as they were.
func TestDCMTKStoresEverySyntax(t *testing.T) {
	addr := freeAddr(t)
	dir := t.TempDir()
	sink := peer(t, "storescp", "+B", "+xa", "-od", dir, port(addr))
	if err := sink.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		sink.Process.Kill()
		sink.Wait()
	})
	n := start(t, to("SINK", addr))
	sent := map[string][32]byte{}
	number := 0
	for flag, uid := range dcmtkSyntaxes {
		number++
		d := image(1, number)
		b := inSyntax(t, d, uid)
		sent[uid] = digest(t, b, uid)
		name := filepath.Join(t.TempDir(), "image.dcm")
		meta := dicom.FileMeta{MediaStorageSOPClassUID: ctClass, MediaStorageSOPInstanceUID: d.String(dict.SOPInstanceUID), TransferSyntaxUID: uid}
		if err := os.WriteFile(name, append(meta.AppendTo(nil), b...), 0o600); err != nil {
			t.Fatal(err)
		}
		run(t, "storescu", "-R", flag, "-aec", "LUMEN", host(n.addr), port(n.addr), name)
	}
	run(t, "movescu", "-S", "-aec", "LUMEN", "-aem", "SINK", "-k", "QueryRetrieveLevel=STUDY", "-k", "StudyInstanceUID=1.2.826.0.1.1",
		host(n.addr), port(n.addr))
	files, _ := filepath.Glob(filepath.Join(dir, "*"))
	if len(files) != len(sent) {
		t.Errorf("%d files of %d syntaxes", len(files), len(sent))
	}
	for _, name := range files {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		meta, rest, err := dicom.ReadFileMeta(bytes.NewReader(content))
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if _, err := b.ReadFrom(rest); err != nil {
			t.Fatal(err)
		}
		if uid := meta.TransferSyntaxUID; digest(t, b.Bytes(), uid) != sent[uid] {
			t.Errorf("%s came back as another", uid)
		}
	}
}

// Orthanc asks at each level, with its shortest and longest PDUs.
func TestOrthancFindsAtEveryLevel(t *testing.T) {
	for _, length := range []int{4096, 131072} {
		n := start(t)
		n.put(t, image(1, 1), image(1, 2), image(12, 1))
		o := startOrthanc(t, freeAddr(t), map[string]string{"LUMEN": n.addr}, map[string]any{"MaximumPduLength": length})
		for level, want := range map[string]int{"Patient": 1, "Study": 1, "Series": 1, "Instance": 2} {
			keys := map[string]string{"PatientID": "P0"}
			if level == "Series" || level == "Instance" {
				keys["StudyInstanceUID"] = "1.2.826.0.1.1"
			}
			if level == "Instance" {
				keys["SeriesInstanceUID"] = "1.2.826.0.1.1.1"
			}
			rq, err := json.Marshal(map[string]any{"Level": level, "Query": keys})
			if err != nil {
				t.Fatal(err)
			}
			var query struct{ ID string }
			o.post("/modalities/LUMEN/query", rq, &query)
			var answers []any
			o.get("/queries/"+query.ID+"/answers", &answers)
			if len(answers) != want {
				t.Errorf("%s, PDUs of %d: %d answers, want %d", level, length, len(answers), want)
			}
		}
	}
}

// Orthanc and we call each other over TLS, with certificates on both sides.
func TestOrthancOverTLS(t *testing.T) {
	cert, files := certificate(t)
	pool := x509.NewCertPool()
	pool.AddCert(cert.Leaf)
	secure := &tls.Config{Certificates: []tls.Certificate{cert}, RootCAs: pool, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert}

	addr := freeAddr(t)
	n := start(t, func(c *scp.Config) {
		c.Destinations = map[string]scp.Destination{"ORTHANC": {Address: addr, TLS: secure}}
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- n.server.Serve(context.Background(), tls.NewListener(l, secure)) }()
	t.Cleanup(func() { l.Close(); <-done })

	ours := l.Addr().String()
	o := startOrthanc(t, addr, nil, map[string]any{
		"DicomTlsEnabled": true, "DicomTlsCertificate": files.cert, "DicomTlsPrivateKey": files.key, "DicomTlsTrustedCertificates": files.cert,
		"DicomModalities": map[string]any{"LUMEN": map[string]any{"AET": "LUMEN", "Host": host(ours), "Port": json.Number(port(ours)), "UseDicomTls": true}},
	})
	o.post("/modalities/LUMEN/echo", []byte("{}"), nil)
	n.put(t, image(1, 1), image(1, 2))
	var query struct{ ID string }
	o.post("/modalities/LUMEN/query", []byte(`{"Level": "Study", "Query": {"PatientID": "P0"}}`), &query)
	o.post("/queries/"+query.ID+"/retrieve", []byte(`{"TargetAet": "ORTHANC", "Synchronous": true}`), nil)
	var instances []string
	o.get("/instances", &instances)
	if len(instances) != 2 {
		t.Errorf("Orthanc has %d instances after C-MOVE over TLS", len(instances))
	}
	d := dimse.Dialer{CallingAE: "TOWER", TLS: secure}
	c, err := d.Dial(t.Context(), o.dicom, "ORTHANC", []dimse.PresentationContext{{SOPClass: dict.UIDVerification, TransferSyntaxes: plain}})
	if err != nil {
		t.Fatal(err)
	}
	if status, err := c.Echo(t.Context()); err != nil || status != 0 {
		t.Error(status, err)
	}
	c.Release(t.Context())
}

// pemFiles are a certificate and its key.
type pemFiles struct{ cert, key string }

// certificate makes one for 127.0.0.1 that is its own CA.
func certificate(t *testing.T) (tls.Certificate, pemFiles) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	files := pemFiles{filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")}
	for name, block := range map[string]*pem.Block{files.cert: {Type: "CERTIFICATE", Bytes: der}, files.key: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cert, err := tls.LoadX509KeyPair(files.cert, files.key)
	if err != nil {
		t.Fatal(fmt.Errorf("read back what was made: %w", err))
	}
	return cert, files
}
