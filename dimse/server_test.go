package dimse_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"testing"
	"time"

	"lumen/dimse"
	"lumen/dimse/pdu"
)

// An object of 256 MiB costs neither side memory.
func TestLargeObjectTakesConstantMemory(t *testing.T) {
	const size = 256 << 20
	var got int64
	addr := serve(t, &dimse.Server{Services: []dimse.Service{{SOPClasses: []string{ctClass},
		Store: func(_ context.Context, _ *dimse.Association, _ *dimse.StoreRequest, data io.Reader) (err error) {
			got, err = io.Copy(io.Discard, data)
			return err
		}}}})
	c := dial(t, addr, propose(ctClass)...)
	rq := dimse.StoreRequest{SOPClassUID: ctClass, SOPInstanceUID: "1.2", TransferSyntax: explicit}
	send := func(n int64) {
		if status, err := c.Store(t.Context(), rq, io.LimitReader(zeros{}, n)); err != nil || status != 0 {
			t.Fatal(status, err)
		}
	}
	send(1 << 20) // buffers are made
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	send(size)
	runtime.ReadMemStats(&after)
	if got != size {
		t.Errorf("%d bytes arrived", got)
	}
	// What timers and the race detector allocate depends on the machine; a copy of
	// the object would be all of its size.
	if n := after.TotalAlloc - before.TotalAlloc; n > size/16 {
		t.Errorf("%d bytes were allocated", n)
	}
}

func TestStoreAllocatesNothingPerFragment(t *testing.T) {
	addr := serve(t, &dimse.Server{Services: []dimse.Service{{SOPClasses: []string{ctClass},
		Store: func(_ context.Context, _ *dimse.Association, _ *dimse.StoreRequest, data io.Reader) error {
			_, err := io.Copy(io.Discard, data)
			return err
		}}}})
	r := connect(t, addr)
	r.associate()
	message := func(fragments int) []byte {
		b := command(3, commandSet(0x01, ctClass, true))
		return pdu.AppendData(b, 3, 0, make([]byte, fragments*100), 100)
	}
	response := make([]byte, 200)
	measure := func(b []byte) float64 {
		return testing.AllocsPerRun(20, func() {
			r.write(b)
			r.Read(response)
		})
	}
	few, many := measure(message(1)), measure(message(1000))
	if many > few+100 { // a tenth of one for each fragment
		t.Errorf("%v allocations with 1 fragment, %v with 1000", few, many)
	}
}

func TestShutdownFinishesWhatItAccepted(t *testing.T) {
	begun, finish := make(chan struct{}), make(chan struct{})
	s := &dimse.Server{Services: []dimse.Service{{SOPClasses: []string{ctClass},
		Store: func(_ context.Context, _ *dimse.Association, _ *dimse.StoreRequest, data io.Reader) error {
			close(begun)
			<-finish
			_, err := io.Copy(io.Discard, data)
			return err
		}}}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(context.Background(), l) }()
	addr := l.Addr().String()
	idle := connect(t, addr)
	idle.associate()
	waiting := connect(t, addr)
	busy := dial(t, addr, propose(ctClass)...)
	result := make(chan error, 1)
	go func() {
		status, err := busy.Store(context.Background(), dimse.StoreRequest{SOPClassUID: ctClass, SOPInstanceUID: "1.2",
			TransferSyntax: explicit}, bytes.NewReader(make([]byte, 5<<20)))
		if status != 0 {
			err = errors.Join(err, errors.New("status "+status.String()))
		}
		result <- err
	}()
	<-begun
	down := make(chan error, 1)
	go func() { down <- s.Shutdown(context.Background()) }()
	idle.aborted(pdu.AbortProvider, pdu.AbortNotSpecified)
	if kind, _ := waiting.read(); kind != 0 {
		t.Errorf("a connection without an association got %v", kind)
	}
	idle.Close()
	select {
	case err := <-down:
		t.Fatalf("shutdown did not wait: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	close(finish)
	if err := <-result; err != nil {
		t.Errorf("the object that was under way: %v", err)
	}
	busy.Abort()
	if err := errors.Join(<-down, <-served); err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("tcp", addr); err == nil {
		t.Error("it still listens")
	}
}

func TestShutdownThatRunsOutOfTimeCuts(t *testing.T) {
	begun := make(chan struct{})
	s := &dimse.Server{Services: []dimse.Service{{SOPClasses: []string{ctClass},
		Store: func(_ context.Context, _ *dimse.Association, _ *dimse.StoreRequest, data io.Reader) error {
			close(begun)
			_, err := io.Copy(io.Discard, data) // the peer never finishes
			return err
		}}}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve(context.Background(), l)
	r := connect(t, l.Addr().String())
	r.associate()
	r.write(command(3, commandSet(0x01, ctClass, true)), pdu.AppendDataHeader(nil, pdu.PDV{ContextID: 3, Length: 1000}))
	<-begun
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

// While an operation runs the peer is still heard.
func TestHandlerIsToldWhatThePeerDoes(t *testing.T) {
	for _, c := range []struct {
		name string
		send []byte
		want func(error) bool
	}{
		{"cancel", command(5, bytes.Join([][]byte{element(0x0100, 0xff, 0x0f), element(0x0120, 1, 0), element(0x0800, 1, 1)}, nil)),
			func(err error) bool { return errors.Is(err, dimse.ErrCancelled) }},
		{"release", pdu.AppendReleaseRQ(nil), func(err error) bool { return errors.Is(err, dimse.ErrReleased) }},
		{"abort", pdu.Abort{}.Append(nil), func(err error) bool { var a *dimse.AbortError; return errors.As(err, &a) }},
		{"nonsense", []byte{0x77, 0, 0, 0, 0, 0}, func(err error) bool { return errors.Is(err, dimse.ErrProtocol) }},
		{"end of the connection", nil, func(err error) bool { return errors.Is(err, dimse.ErrClosed) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			running, cause := make(chan struct{}), make(chan error, 1)
			addr := serve(t, &dimse.Server{Services: []dimse.Service{{SOPClasses: []string{findClass},
				Move: func(ctx context.Context, _ *dimse.Association, _ *dimse.MoveRequest, _ func(dimse.SubOperations) error) (dimse.SubOperations, error) {
					close(running)
					<-ctx.Done()
					cause <- context.Cause(ctx)
					return dimse.SubOperations{Remaining: 1}, nil
				}}}})
			r := connect(t, addr)
			r.associate()
			r.write(command(5, commandSet(0x21, findClass, true)), data(5, element8(0x0052, "STUDY ")))
			<-running
			if c.send != nil {
				r.write(c.send)
			} else {
				r.Close()
			}
			if err := <-cause; !c.want(err) {
				t.Errorf("cause %v", err)
			}
			switch c.name {
			case "cancel":
				if got := r.status(); got != dimse.StatusCancel {
					t.Errorf("final status %v", got)
				}
			case "release":
				if got := r.status(); got != dimse.StatusCancel {
					t.Errorf("final status %v", got)
				}
				if kind, _ := r.read(); kind != pdu.TypeReleaseRP {
					t.Errorf("got %v", kind)
				}
			}
		})
	}
}

// A second request while one runs is served after it, not dropped.
func TestRequestDuringAnOperationWaits(t *testing.T) {
	ar := archive{matches: 2000}
	addr := serve(t, ar.server())
	r := connect(t, addr)
	r.associate()
	r.write(command(5, commandSet(0x20, findClass, true)), data(5, element8(0x0052, "STUDY ")), echo)
	n := 0
	for {
		kind, body := r.read()
		if kind != pdu.TypeData {
			t.Fatalf("got %v", kind)
		}
		if bytes.Contains(body, element(0x0100, 0x30, 0x80)) {
			break
		}
		if bytes.Contains(body, element(0x0900, 0x00, 0xff)) {
			n++
		}
	}
	if n != ar.matches {
		t.Errorf("the answer to the echo came after %d matches", n)
	}
}
