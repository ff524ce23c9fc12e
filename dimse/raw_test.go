package dimse_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/dimse"
	"lumen/dimse/pdu"
)

// raw is a peer that writes whatever it likes.
type raw struct {
	t testing.TB
	net.Conn
}

func connect(t testing.TB, addr string) raw {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	return raw{t, conn}
}

// associate asks for verification (1), CT storage (3) and Study Root FIND (5).
func (r raw) associate() {
	r.t.Helper()
	rq := &pdu.AssociateRQ{CalledAE: "LUMEN", CallingAE: "HOSTILE"}
	for i, uid := range []string{dict.UIDVerification, ctClass, findClass} {
		rq.Contexts = append(rq.Contexts, pdu.ContextRQ{ID: byte(2*i + 1), AbstractSyntax: uid,
			TransferSyntaxes: []string{dicom.ImplicitVRLittleEndian}})
	}
	r.write(rq.Append(nil))
	if got, _ := r.read(); got != pdu.TypeAssociateAC {
		r.t.Fatalf("got %v", got)
	}
}

func (r raw) write(parts ...[]byte) {
	r.t.Helper()
	if _, err := r.Write(bytes.Join(parts, nil)); err != nil {
		r.t.Fatal(err)
	}
}

// read reads one PDU; type 0 is the end of the connection.
func (r raw) read() (pdu.Type, []byte) {
	r.t.Helper()
	var head [pdu.HeaderSize]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			r.t.Fatal("the server says nothing and does not close")
		}
		return 0, nil
	}
	h := pdu.ParseHeader(head[:])
	body := make([]byte, h.Length)
	if _, err := io.ReadFull(r, body); err != nil {
		r.t.Fatal(err)
	}
	return h.Type, body
}

// aborted expects an A-ABORT.
func (r raw) aborted(source pdu.AbortSource, reason pdu.AbortReason) {
	r.t.Helper()
	kind, body := r.read()
	if kind != pdu.TypeAbort {
		r.t.Fatalf("got %v", kind)
	}
	if got, _ := pdu.ParseAbort(body); got != (pdu.Abort{Source: source, Reason: reason}) {
		r.t.Errorf("abort %+v, want source %d, reason %d", got, source, reason)
	}
}

// element is an element of a command set.
func element(tag uint16, value ...byte) []byte {
	b := []byte{0, 0, byte(tag), byte(tag >> 8), 0, 0, 0, 0}
	binary.LittleEndian.PutUint32(b[4:], uint32(len(value)))
	return append(b, value...)
}

// commandSet makes a request with message id 1.
func commandSet(field uint16, class string, hasData bool, more ...[]byte) []byte {
	if len(class)%2 == 1 {
		class += "\x00"
	}
	kind := byte(1)
	if hasData {
		kind = 0
	}
	b := bytes.Join([][]byte{element(0x0002, []byte(class)...), element(0x0100, byte(field), byte(field>>8)),
		element(0x0110, 1, 0), element(0x0800, 1, kind)}, nil)
	return append(b, bytes.Join(more, nil)...)
}

func command(context byte, b []byte) []byte {
	return pdu.AppendData(nil, context, pdu.FlagCommand, b, 1<<20)
}
func data(context byte, b []byte) []byte { return pdu.AppendData(nil, context, 0, b, 1<<20) }

// status reads a response.
func (r raw) status() dimse.Status {
	r.t.Helper()
	kind, body := r.read()
	if kind != pdu.TypeData {
		r.t.Fatalf("got %v", kind)
	}
	for b := body[pdu.PDVHeaderSize:]; len(b) >= 8; {
		n := binary.LittleEndian.Uint32(b[4:])
		if binary.LittleEndian.Uint16(b[2:]) == 0x0900 {
			return dimse.Status(binary.LittleEndian.Uint16(b[8:]))
		}
		b = b[8+n:]
	}
	r.t.Fatal("a response without a status")
	return 0
}

var echo = command(1, commandSet(0x30, dict.UIDVerification, false))
