package dimse_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/dimse"
)

func TestEchoFromDCMTK(t *testing.T) {
	host, port := split(serve(t, new(archive).server()))
	run(t, "echoscu", "-aec", "LUMEN", "--repeat", "3", host, port)
}

func TestStoreFromDCMTKKeepsTheBytes(t *testing.T) {
	for _, nodelay := range []string{"", "TCP_NODELAY=1"} {
		t.Run("environment "+nodelay, func(t *testing.T) {
			var ar archive
			host, port := split(serve(t, ar.server()))
			file, uid := ctFile(t, 1)
			cmd := peer(t, "storescu", "-aec", "LUMEN", host, port, file)
			cmd.Env = append(os.Environ(), nodelay)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if !bytes.Equal(ar.objects[uid], body(t, file)) {
				t.Error("the data set differs from the file's")
			}
		})
	}
}

func TestFindFromDCMTK(t *testing.T) {
	ar := archive{matches: 3}
	host, port := split(serve(t, ar.server()))
	out := run(t, "findscu", "-S", "-aec", "LUMEN", "-k", "QueryRetrieveLevel=STUDY", "-k", "PatientID=", host, port)
	for i := range 3 {
		if !strings.Contains(out, fmt.Sprintf("P%d", i)) {
			t.Errorf("match %d is missing in\n%s", i, out)
		}
	}
}

func TestFindIsCancelledByDCMTK(t *testing.T) {
	ar := archive{matches: 1 << 30}
	host, port := split(serve(t, ar.server()))
	run(t, "findscu", "-S", "--cancel", "2", "-aec", "LUMEN", "-k", "QueryRetrieveLevel=STUDY", host, port)
	eventually(t, "the query is reported", func() bool {
		ar.mu.Lock()
		defer ar.mu.Unlock()
		return len(ar.served) > 0
	})
	if got := ar.served[0].Status; got != dimse.StatusCancel {
		t.Errorf("final status %v", got)
	}
}

func TestMoveFromDCMTK(t *testing.T) {
	var destination string
	server := &dimse.Server{Services: []dimse.Service{{SOPClasses: []string{moveClass},
		Move: func(_ context.Context, _ *dimse.Association, rq *dimse.MoveRequest, progress func(dimse.SubOperations) error) (dimse.SubOperations, error) {
			destination = rq.Destination
			for i := range 3 {
				if err := progress(dimse.SubOperations{Remaining: 3 - i, Completed: i}); err != nil {
					return dimse.SubOperations{}, err
				}
			}
			return dimse.SubOperations{Completed: 2, Failed: 1, FailedUIDs: []string{"1.2.3"}}, nil
		}}}}
	host, port := split(serve(t, server))
	out, err := peer(t, "movescu", "-v", "-S", "-aec", "LUMEN", "-aem", "THERE", "-k", "QueryRetrieveLevel=STUDY",
		"-k", "StudyInstanceUID=1.2.3", host, port).CombinedOutput()
	if destination != "THERE" {
		t.Errorf("destination %q", destination)
	}
	if !strings.Contains(string(out), "Warning") || strings.Count(string(out), "Received Move Response") < 3 {
		t.Errorf("%v\n%s", err, out)
	}
}

// storescp runs DCMTK's receiver and returns its address and its folder.
func storescp(t *testing.T, args ...string) (addr, dir string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr = l.Addr().String()
	l.Close()
	_, port := split(addr)
	dir = t.TempDir()
	cmd := peer(t, "storescp", append(append([]string{"+B", "-od", dir}, args...), port)...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	eventually(t, "storescp listens", func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return addr, dir
}

func TestClientStoresAtDCMTK(t *testing.T) {
	file, uid := ctFile(t, 7)
	data := body(t, file)
	for _, pdu := range []string{"4096", "16384", "131072"} {
		t.Run("peer's maximum PDU "+pdu, func(t *testing.T) {
			addr, dir := storescp(t, "-pdu", pdu)
			c := dial(t, addr, propose(dict.UIDVerification, ctClass)...)
			if status, err := c.Echo(t.Context()); err != nil || status != dimse.StatusSuccess {
				t.Fatalf("echo: %v, %v", status, err)
			}
			ts := c.Accepted(ctClass)[0].TransferSyntax
			big := append(bytes.Clone(data), privateElement(300<<10)...)
			for i, b := range [][]byte{data, big} {
				status, err := c.Store(t.Context(), dimse.StoreRequest{SOPClassUID: ctClass, SOPInstanceUID: uid,
					TransferSyntax: ts}, bytes.NewReader(b))
				if err != nil || status != dimse.StatusSuccess {
					t.Fatalf("store: %v, %v", status, err)
				}
				files, _ := filepath.Glob(filepath.Join(dir, "*"))
				if len(files) != 1 {
					t.Fatalf("files %v", files)
				}
				if got := body(t, files[0]); !bytes.Equal(got, b) {
					t.Errorf("object %d: the peer got %d bytes, not the %d that were sent", i, len(got), len(b))
				}
			}
			if err := c.Release(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// privateElement is an OB element after the pixel data, in Explicit VR.
func privateElement(n int) []byte {
	b := []byte{0xe1, 0x7f, 0x10, 0, 'L', 'O', 4, 0, 'T', 'E', 'S', 'T',
		0xe1, 0x7f, 1, 0x10, 'O', 'B', 0, 0, byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24)}
	return append(b, make([]byte, n)...)
}

func TestClientFindsMovesAndGetsAtDCMTK(t *testing.T) {
	dir := t.TempDir()
	receiver, got := storescp(t)
	_, receiverPort := split(receiver)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	_, port := split(addr)
	config := filepath.Join(dir, "qr.cfg")
	text := "NetworkTCPPort = " + port + "\nMaxPDUSize = 16384\nMaxAssociations = 16\n" +
		"HostTable BEGIN\nthere = (THERE, 127.0.0.1, " + receiverPort + ")\nHostTable END\nVendorTable BEGIN\nVendorTable END\n" +
		"AETable BEGIN\nQR " + dir + " RW (200, 1024mb) ANY\nAETable END\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := peer(t, "dcmqrscp", "-c", config)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	eventually(t, "dcmqrscp listens", func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	d := dimse.Dialer{CallingAE: "TEST", Timeout: 5 * time.Second}
	contexts := propose(ctClass, findClass, moveClass, getClass)
	contexts[0].Role = dimse.RoleBoth
	c, err := d.Dial(t.Context(), addr, "QR", contexts)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Release(context.Background())
	sent := make(map[string][]byte)
	for i := range 3 {
		file, uid := ctFile(t, 100+i)
		sent[uid] = body(t, file)
		status, err := c.Store(t.Context(), dimse.StoreRequest{SOPClassUID: ctClass, SOPInstanceUID: uid,
			TransferSyntax: explicit}, bytes.NewReader(sent[uid]))
		if err != nil || status != 0 {
			t.Fatalf("store: %v, %v", status, err)
		}
	}
	var identifier dicom.DataSet
	identifier.SetString(dict.QueryRetrieveLevel, "IMAGE")
	identifier.SetString(dict.StudyInstanceUID, "1.2.3")
	identifier.SetString(dict.SeriesInstanceUID, "1.2.3.4")
	identifier.SetString(dict.SOPInstanceUID)
	found := 0
	for ds, err := range c.Find(t.Context(), findClass, &identifier) {
		if err != nil {
			t.Fatal(err)
		}
		if sent[ds.String(dict.SOPInstanceUID)] == nil {
			t.Error("a match that was not stored")
		}
		found++
	}
	if found != len(sent) {
		t.Errorf("%d matches", found)
	}

	var study dicom.DataSet
	study.SetString(dict.QueryRetrieveLevel, "STUDY")
	study.SetString(dict.StudyInstanceUID, "1.2.3")
	n, err := c.Move(t.Context(), moveClass, "THERE", &study, nil)
	if err != nil || n.Completed != len(sent) {
		t.Errorf("move: %+v, %v", n, err)
	}
	if files, _ := filepath.Glob(filepath.Join(got, "*")); len(files) != len(sent) {
		t.Errorf("the destination has %d files", len(files))
	}
	var status *dimse.StatusError
	if _, err := c.Move(t.Context(), moveClass, "NOWHERE", &study, nil); !errors.As(err, &status) ||
		status.Status != dimse.StatusDestinationUnknown {
		t.Errorf("move to an unknown destination: %v", err)
	}

	received := 0
	n, err = c.Get(t.Context(), getClass, &study, func(_ context.Context, rq *dimse.StoreRequest, data io.Reader) error {
		received++
		b, err := io.ReadAll(data)
		if !bytes.Equal(b, sent[rq.SOPInstanceUID]) {
			t.Error("C-GET brought other bytes than were stored")
		}
		return err
	}, nil)
	if err != nil || n.Completed != len(sent) || received != len(sent) {
		t.Errorf("get: %+v, %d received, %v", n, received, err)
	}
}
