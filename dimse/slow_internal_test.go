package dimse

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/big"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/dimse/pdu"
)

// sending begins a C-STORE on a server of its own, in virtual time. The object
// goes into the connection that it returns; arrived tells how much of it did,
// closed when and why the association ended.
func sending(t *testing.T, s *Server) (conn net.Conn, arrived <-chan int64, closed <-chan ending) {
	t.Helper()
	size, ended := make(chan int64, 1), make(chan ending, 1)
	s.Services = []Service{{SOPClasses: []string{dict.UIDCTImageStorage},
		Store: func(_ context.Context, _ *Association, _ *StoreRequest, data io.Reader) error {
			n, err := io.Copy(io.Discard, data)
			size <- n
			return err
		}}}
	s.Events.Closed = func(_ *Association, err error) { ended <- ending{time.Now(), err} }
	conn = associated(t, s, dict.UIDCTImageStorage)
	conn.Write(requestOf(cStoreRQ, dict.UIDCTImageStorage))
	return conn, size, ended
}

// associated begins an association with s, with a context of the class, and
// returns the peer's side of it.
func associated(t *testing.T, s *Server, class string) net.Conn {
	t.Helper()
	ours, theirs := net.Pipe()
	s.start(t.Context(), ours, s.Limits.orDefaults(), false)
	rq := &pdu.AssociateRQ{CalledAE: "LUMEN", CallingAE: "SLOW", Contexts: []pdu.ContextRQ{
		{ID: 1, AbstractSyntax: class, TransferSyntaxes: []string{dicom.ExplicitVRLittleEndian}}}}
	theirs.Write(rq.Append(nil))
	if got := readPDU(theirs); got != pdu.TypeAssociateAC {
		t.Fatal(got)
	}
	return theirs
}

// requestOf is a command set that a data set follows.
func requestOf(f field, class string) []byte {
	c := command{Field: f, MessageID: 1, SOPClass: class, SOPInstance: "1.2", HasData: true}
	return pdu.AppendData(nil, 1, pdu.FlagCommand, c.append(nil), 1000)
}

// readResponse reads one PDU, which has to be a whole response.
func readResponse(t *testing.T, conn net.Conn) (c command) {
	t.Helper()
	head := make([]byte, pdu.HeaderSize)
	if _, err := io.ReadFull(conn, head); err != nil {
		t.Fatal(err)
	}
	h := pdu.ParseHeader(head)
	body := make([]byte, h.Length)
	if _, err := io.ReadFull(conn, body); err != nil || h.Type != pdu.TypeData {
		t.Fatal(h.Type, err)
	}
	if err := c.parse(body[pdu.PDVHeaderSize:]); err != nil {
		t.Fatal(err)
	}
	return c
}

type ending struct {
	at  time.Time
	err error
}

// fragment is a P-DATA-TF PDU with n bytes of a data set.
func fragment(n int, last bool) []byte {
	v := pdu.PDV{ContextID: 1, Length: uint32(n)}
	if last {
		v.Flags = pdu.FlagLast
	}
	b := pdu.AppendDataHeader(nil, v)
	pdu.PutDataLength(b, uint32(n))
	return append(b, make([]byte, n)...)
}

// A video of 6 GB takes more than four hours over a link of 3 Mbit/s: what counts
// is that it moves.
func TestVideoOverASlowLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size, perSecond = videoSize, videoSize / 16_000
		s := &Server{}
		conn, arrived, closed := sending(t, s)
		begin := time.Now()
		piece := fragment(125_000, false)
		for sent := 0; sent < size; sent += 125_000 {
			time.Sleep(time.Second * 125_000 / perSecond)
			if sent+125_000 == size {
				piece = fragment(125_000, true)
			}
			if _, err := conn.Write(piece); err != nil {
				t.Fatalf("cut after %v, at %d bytes: %v", time.Since(begin), sent, (<-closed).err)
			}
		}
		if got := readPDU(conn); got != pdu.TypeData {
			t.Errorf("the answer is %v", got)
		}
		if n := <-arrived; n != size || time.Since(begin) < 4*time.Hour {
			t.Errorf("%d bytes in %v", n, time.Since(begin))
		}
		conn.Close()
		s.wg.Wait()
	})
}

// The limit is 60 KiB in 60 s. What comes once a second is 59 times in less than
// that.
func TestLackOfProgressCuts(t *testing.T) {
	for _, c := range []struct {
		name      string
		perSecond int
		cut       time.Duration // at the latest; 0: never
	}{
		{"at the limit for a day", 60<<10/59 + 1, 0},
		{"below it", 1023, 2 * time.Minute},
		{"nothing at all", 0, time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &Server{}
				conn, _, closed := sending(t, s)
				synctest.Wait()
				begin := time.Now()
				const day = 24 * time.Hour
				piece := fragment(1<<19, false)
				length := len(piece)
				piece = append(piece, piece...) // some writes end one and begin the next
				go io.Copy(io.Discard, conn)    // the abort
				var err error
				for at := 0; err == nil && time.Since(begin) < day; time.Sleep(time.Second) {
					_, err = conn.Write(piece[at : at+c.perSecond])
					at = (at + c.perSecond) % length
				}
				if (err != nil) != (c.cut > 0) {
					t.Errorf("after %v: %v", time.Since(begin), err)
				} else if c.cut > 0 {
					end := <-closed
					if took := end.at.Sub(begin); !errors.Is(end.err, ErrTimeout) || took < time.Minute || took > c.cut {
						t.Errorf("cut after %v: %v", took, end.err)
					}
				}
				conn.Close()
				s.wg.Wait()
			})
		})
	}
}

// Time that we take ourselves is no lack of progress of the peer: a disk may
// stall, or what a handler needs may not be there yet.
func TestOurOwnSlownessCutsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got int64
		s := &Server{Services: []Service{{SOPClasses: []string{dict.UIDCTImageStorage},
			Store: func(_ context.Context, _ *Association, _ *StoreRequest, data io.Reader) (err error) {
				for n := int64(1); n > 0 && err == nil; got += n {
					time.Sleep(2 * time.Minute)
					if n, err = io.CopyN(io.Discard, data, readBuffer); err == io.EOF {
						err = nil
					}
				}
				return err
			}}}}
		conn := associated(t, s, dict.UIDCTImageStorage)
		conn.Write(requestOf(cStoreRQ, dict.UIDCTImageStorage))
		conn.Write(fragment(1<<19, false))
		conn.Write(fragment(1<<19, true))
		if answer := readResponse(t, conn); answer.Status != StatusSuccess || got != 1<<20 {
			t.Errorf("%v after %d bytes", answer.Status, got)
		}
		conn.Close()
		s.wg.Wait()
	})
}

// While an operation runs nobody is idle, however long it takes (PS3.4 C.4.2: a
// peer that waits for a C-MOVE has nothing to say).
func TestLongOperationsAreNotIdle(t *testing.T) {
	long := func(ctx context.Context) (SubOperations, error) {
		select {
		case <-time.After(24 * time.Hour):
			return SubOperations{Completed: 1}, nil
		case <-ctx.Done():
			return SubOperations{}, context.Cause(ctx)
		}
	}
	for operation, service := range map[field]Service{
		cMoveRQ: {Move: func(ctx context.Context, _ *Association, _ *MoveRequest, _ func(SubOperations) error) (SubOperations, error) {
			return long(ctx)
		}},
		cGetRQ: {Get: func(ctx context.Context, _ *Association, _ *GetRequest, _ SubStore, _ func(SubOperations) error) (SubOperations, error) {
			return long(ctx)
		}},
		cFindRQ: {Find: func(ctx context.Context, _ *Association, _ *FindRequest) iter.Seq2[*dicom.DataSet, error] {
			return func(yield func(*dicom.DataSet, error) bool) {
				if _, err := long(ctx); err != nil {
					yield(nil, err)
				}
			}
		}},
	} {
		t.Run(operation.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				service.SOPClasses = []string{"1.2.3"}
				s := &Server{Services: []Service{service}}
				conn := associated(t, s, "1.2.3")
				conn.Write(requestOf(operation, "1.2.3"))
				conn.Write(fragment(0, true))
				if answer := readResponse(t, conn); answer.Status != StatusSuccess {
					t.Errorf("a day later: %v", answer.Status)
				}
				begin := time.Now()
				if kind := readPDU(conn); kind != pdu.TypeAbort || time.Since(begin) != s.Limits.orDefaults().Idle {
					t.Errorf("then %v after %v", kind, time.Since(begin))
				}
				conn.Close()
				s.wg.Wait()
			})
		})
	}
}

// slowly is a connection whose other side reads so many bytes a second.
type slowly struct {
	net.Conn
	perSecond int
}

func (s slowly) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p[:min(len(p), s.perSecond)])
	time.Sleep(time.Duration(n) * time.Second / time.Duration(s.perSecond))
	return n, err
}

// What we send may go as slowly, over TLS too, where a write that has run out of
// time is the end of the connection.
func TestSendingOverASlowLink(t *testing.T) {
	for _, secure := range []bool{false, true} {
		for perSecond, cut := range map[int]bool{60<<10/56 + 1: false, 1000: true} {
			t.Run(fmt.Sprintf("TLS %t, %d bytes a second", secure, perSecond), func(t *testing.T) {
				certificate := selfSigned(t)
				synctest.Test(t, func(t *testing.T) {
					ours, theirs := net.Pipe()
					var far net.Conn = slowly{theirs, perSecond}
					if secure {
						far = tls.Client(far, &tls.Config{InsecureSkipVerify: true})
						ours = tls.Server(ours, &tls.Config{Certificates: []tls.Certificate{certificate}})
					}
					received := make(chan int64)
					go func() {
						n, _ := io.Copy(io.Discard, far)
						received <- n
					}()
					l := newLink(ours, Limits{}.orDefaults(), true)
					l.machine.state = staData
					begin := time.Now()
					const size = 1 << 20
					_, err := l.sendStream(1, &command{Field: cStoreRQ, SOPClass: "1.2"}, bytes.NewReader(make([]byte, size)))
					if cut != errors.Is(err, ErrTimeout) || !cut && err != nil {
						t.Errorf("after %v: %v", time.Since(begin), err)
					}
					l.close()
					theirs.Close()
					if n := <-received; !cut && n < size {
						t.Errorf("%d bytes arrived", n)
					}
				})
			})
		}
	}
}

func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().AddDate(1, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
