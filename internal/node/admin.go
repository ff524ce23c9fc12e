package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/user"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"lumen/access"
	"lumen/config"
	"lumen/internal/durable"
)

// socketWait is how long a command waits for the admin socket of a process that
// has the data folder: it may be starting.
const socketWait = 10 * time.Second

// Admin is a command's way to a node: to the running one through its admin
// socket, or to one that this process opened for the command.
type Admin struct {
	// Running tells whether another process has the data folder.
	Running bool

	client http.Client
	close  func() error
}

// Dial connects a command to the node of the data folder in cfg. When none
// runs, it opens the folder itself, without listeners for peers, and serves the
// admin socket until Close: so both ways are one.
func Dial(ctx context.Context, cfg config.Config, log *slog.Logger) (*Admin, error) {
	folder, err := OpenFolder(durable.OS(), cfg.Data, false)
	if errors.Is(err, ErrRunning) {
		a := &Admin{Running: true, client: socketClient(cfg.Data), close: func() error { return nil }}
		return a, a.reachable(ctx)
	}
	if err != nil {
		return nil, err
	}
	n, err := openNode(ctx, cfg, folder, log, false)
	if err != nil {
		return nil, errors.Join(err, folder.Close())
	}
	l, err := listenAdmin(folder)
	if err != nil {
		return nil, errors.Join(err, n.close(ctx), folder.Close())
	}
	srv := newAdminServer(n)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	stop := func() error {
		ctx := context.WithoutCancel(ctx)
		err := srv.Shutdown(ctx)
		if e := <-served; !errors.Is(e, http.ErrServerClosed) {
			err = errors.Join(err, e)
		}
		return errors.Join(err, n.close(ctx), folder.Close())
	}
	return &Admin{client: socketClient(cfg.Data), close: stop}, nil
}

// Close ends the connection, and the node that Dial opened.
func (a *Admin) Close() error {
	a.client.CloseIdleConnections()
	return a.close()
}

// RefusedError is an answer of the node that is none of success.
type RefusedError struct {
	Status int // of HTTP
	Reason string
}

func (e *RefusedError) Error() string { return "the node refuses: " + e.Reason }

// Do sends a request for path, with a body or nil, and returns the answer's
// body. What the node does not do comes back as a *RefusedError.
func (a *Admin) Do(ctx context.Context, method, path string, body io.Reader) (io.ReadCloser, error) {
	rq, err := http.NewRequestWithContext(ctx, method, "http://lumen"+path, body)
	if err != nil {
		return nil, err
	}
	rsp, err := a.client.Do(rq)
	if err != nil {
		return nil, fmt.Errorf("ask the node: %w", err)
	}
	if rsp.StatusCode != http.StatusOK {
		defer rsp.Body.Close()
		var answer struct{ Status string }
		if json.NewDecoder(io.LimitReader(rsp.Body, 4096)).Decode(&answer) != nil {
			answer.Status = rsp.Status
		}
		return nil, &RefusedError{rsp.StatusCode, answer.Status}
	}
	return rsp.Body, nil
}

// reachable waits until the admin socket answers.
func (a *Admin) reachable(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, socketWait)
	defer cancel()
	for {
		body, err := a.Do(ctx, http.MethodGet, "/status", nil)
		if err == nil {
			return body.Close()
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w, but it does not answer: %w", ErrRunning, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func socketClient(data string) http.Client {
	return http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var c net.Conn
			err := inRunFolder(data, func(dir string) (err error) {
				c, err = new(net.Dialer).DialContext(ctx, "unix", dir+"/admin.sock")
				return err
			})
			return c, err
		},
	}}
}

func listenAdmin(f *Folder) (net.Listener, error) {
	name := f.path("run", "admin.sock")
	if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err // we hold the lock: a socket that is there was left by a crash
	}
	var l *net.UnixListener
	err := inRunFolder(f.root, func(dir string) (err error) {
		l, err = net.ListenUnix("unix", &net.UnixAddr{Name: dir + "/admin.sock", Net: "unix"})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open the admin socket: %w", err)
	}
	l.SetUnlinkOnClose(false) // its name is good only inside inRunFolder
	return adminListener{l, name}, os.Chmod(name, 0o600)
}

// adminListener removes the socket when it is closed.
type adminListener struct {
	net.Listener
	name string
}

func (l adminListener) Close() error {
	err := l.Listener.Close()
	if e := os.Remove(l.name); !errors.Is(e, os.ErrNotExist) {
		err = errors.Join(err, e)
	}
	return err
}

// inRunFolder calls fn with a short name of DATA/run: the path of a socket may
// have 107 characters at most, and data folders lie deep.
func inRunFolder(data string, fn func(dir string) error) error {
	dir, err := os.Open(data + "/run")
	if err != nil {
		return err
	}
	defer dir.Close()
	return fn(fmt.Sprintf("/proc/self/fd/%d", dir.Fd()))
}

type peerKey struct{}

// newAdminServer serves the admin socket. Whoever can open it, by the modes of
// the socket and of its folder, is the owner of the data; who it was is
// recorded.
func newAdminServer(n *node) *http.Server {
	srv := newHTTPServer(n.adminHandler(), n.config.Limits, n.log)
	srv.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		return context.WithValue(ctx, peerKey{}, peerUser(c))
	}
	return srv
}

// peerUser names the operating system's user at the other end of a socket.
func peerUser(c net.Conn) string {
	name := "unknown"
	raw, err := c.(*net.UnixConn).SyscallConn()
	if err != nil {
		return name
	}
	raw.Control(func(fd uintptr) { // its error leaves the name unknown
		cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		if err != nil {
			return
		}
		name = strconv.Itoa(int(cred.Uid))
		if u, err := user.LookupId(name); err == nil {
			name = u.Username
		}
	})
	return name
}

// principal is the user who runs the command that sent r.
func (n *node) principal(r *http.Request) access.Principal {
	name, _ := r.Context().Value(peerKey{}).(string)
	return access.Principal{Tenant: access.DefaultTenant, Kind: access.KindUser, Name: name, Rights: access.All}
}
