package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"lumen/internal/loopback"
)

// peer is a running server that takes DICOM or HTTP from the bench.
type peer struct {
	name    string
	dimse   string // address, empty where it speaks none
	web     string // base of DICOMweb or of plain files, empty where it has none
	aeTitle string
	cmd     *exec.Cmd
	logs    *os.File
}

// startTimeout bounds how long a peer may take until it listens.
const startTimeout = 30 * time.Second

// stop ends the peer and everything it forked, and waits for it.
func (p *peer) stop() {
	if p == nil || p.cmd == nil {
		return
	}
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGTERM)
	done := make(chan struct{})
	go func() { _ = p.cmd.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		<-done
	}
	p.logs.Close()
}

// anonymousMemory is the peer's RssAnon in bytes, of its first process.
func (p *peer) anonymousMemory() int64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			kb, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kb << 10
		}
	}
	return 0
}

func start(dir, name string, env []string, argv ...string) (*peer, error) {
	logs, err := os.Create(filepath.Join(dir, name+".log"))
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = logs, logs
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		logs.Close()
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return &peer{name: name, cmd: cmd, logs: logs}, nil
}

// waitFor polls until every address accepts a connection.
func (p *peer) waitFor(addrs ...string) error {
	deadline := time.Now().Add(startTimeout)
	for _, addr := range addrs {
		for {
			c, err := net.Dial("tcp", addr)
			if err == nil {
				c.Close()
				break
			}
			if time.Now().After(deadline) {
				p.stop()
				return fmt.Errorf("%s does not listen on %s; see %s", p.name, addr, p.logs.Name())
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	return nil
}

// destination is where C-MOVE sends: the bench's own receiver.
type destination struct {
	aeTitle string
	port    int
}

// startLumen serves with an empty data folder; only what the bench itself needs
// is configured.
func startLumen(dir, binary string, to destination) (*peer, error) {
	data := filepath.Join(dir, "lumen")
	config := filepath.Join(dir, "lumen.yaml")
	yaml := fmt.Sprintf("destinations:\n  - title: %s\n    address: 127.0.0.1:%d\n", to.aeTitle, to.port)
	if err := os.WriteFile(config, []byte(yaml), 0o600); err != nil {
		return nil, err
	}
	p, err := start(dir, "lumen", nil, binary, "serve", "--config", config, "--data", data,
		"--dimse", "127.0.0.1:0", "--http", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	var addr struct{ DIMSE, HTTP string }
	deadline := time.Now().Add(startTimeout)
	for {
		raw, err := os.ReadFile(filepath.Join(data, "run", "addr.json"))
		if err == nil && json.Unmarshal(raw, &addr) == nil && addr.DIMSE != "" {
			break
		}
		if time.Now().After(deadline) {
			p.stop()
			return nil, fmt.Errorf("lumen does not say where it listens; see %s", p.logs.Name())
		}
		time.Sleep(20 * time.Millisecond)
	}
	p.dimse, p.web, p.aeTitle = addr.DIMSE, "http://"+addr.HTTP+"/dicom-web", "LUMEN"
	return p, p.waitFor(addr.DIMSE, addr.HTTP)
}

// startOrthanc gives Orthanc its best: no authentication, no storage compression,
// index and files on the same disk as Lumen. noDelay sets TCP_NODELAY=1 for its
// DCMTK; without it Orthanc is as shipped.
func startOrthanc(dir string, noDelay bool, to destination) (*peer, error) {
	name := "orthanc"
	if !noDelay {
		name = "orthanc-shipped"
	}
	dicomPort, err := loopback.FreePort()
	if err != nil {
		return nil, err
	}
	httpPort, err := loopback.FreePort()
	if err != nil {
		return nil, err
	}
	plugins, err := filepath.Glob("/usr/lib/orthanc/libOrthancDicomWeb.so*")
	if err != nil || len(plugins) == 0 {
		return nil, errors.New("orthanc-dicomweb is not installed (apt-get install orthanc orthanc-dicomweb)")
	}
	config := map[string]any{
		"Name":             "bench",
		"StorageDirectory": filepath.Join(dir, name), "IndexDirectory": filepath.Join(dir, name),
		"DicomPort": dicomPort, "HttpPort": httpPort, "DicomAet": "ORTHANC",
		"RemoteAccessAllowed": false, "AuthenticationEnabled": false,
		"StorageCompression": false, "DicomAlwaysAllowEcho": true,
		"DicomAlwaysAllowStore": true, "DicomAlwaysAllowFind": true, "DicomAlwaysAllowMove": true,
		"LimitFindResults": 0, "ConcurrentJobs": 4, "StableAge": 60,
		"Plugins":         plugins,
		"DicomModalities": map[string]any{"bench": []any{to.aeTitle, "127.0.0.1", to.port}},
		"DicomWeb":        map[string]any{"Enable": true, "Root": "/dicom-web/", "Ssl": false, "StudiesMetadata": "Full", "SeriesMetadata": "Full"},
	}
	raw, err := json.MarshalIndent(config, "", " ")
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, name+".json")
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		return nil, err
	}
	var env []string
	if noDelay {
		env = []string{"TCP_NODELAY=1"}
	}
	p, err := start(dir, name, env, "/usr/sbin/Orthanc", file)
	if err != nil {
		return nil, err
	}
	p.dimse, p.web, p.aeTitle = fmt.Sprintf("127.0.0.1:%d", dicomPort), fmt.Sprintf("http://127.0.0.1:%d/dicom-web", httpPort), "ORTHANC"
	return p, p.waitFor(p.dimse, strings.TrimSuffix(strings.TrimPrefix(p.web, "http://"), "/dicom-web"))
}

// startStoreSCP runs DCMTK's storescp, one process an association, keeping what
// it receives: no fsync, no index, no encryption, no journal.
func startStoreSCP(dir string) (*peer, error) {
	port, err := loopback.FreePort()
	if err != nil {
		return nil, err
	}
	out := filepath.Join(dir, "storescp")
	if err := os.MkdirAll(out, 0o700); err != nil {
		return nil, err
	}
	p, err := start(dir, "storescp", []string{"TCP_NODELAY=1"}, "storescp", "--fork", "+B", "+xa", "-pdu", "131072", "-od", out, strconv.Itoa(port))
	if err != nil {
		return nil, err
	}
	p.dimse, p.aeTitle = fmt.Sprintf("127.0.0.1:%d", port), "STORESCP"
	return p, p.waitFor(p.dimse)
}

// startNginx serves the files of root in clear.
func startNginx(dir, root string) (*peer, error) {
	port, err := loopback.FreePort()
	if err != nil {
		return nil, err
	}
	config := fmt.Sprintf(`daemon off; worker_processes 2; pid %[1]s/nginx.pid; error_log stderr;
user root; events { worker_connections 1024; }
http { access_log off; sendfile on; tcp_nopush on; tcp_nodelay on; keepalive_requests 1000000;
 client_body_temp_path %[1]s/nginx-tmp; proxy_temp_path %[1]s/nginx-tmp; fastcgi_temp_path %[1]s/nginx-tmp;
 uwsgi_temp_path %[1]s/nginx-tmp; scgi_temp_path %[1]s/nginx-tmp;
 server { listen 127.0.0.1:%[2]d; root %[3]s; } }
`, dir, port, root)
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, err
	}
	p, err := start(dir, "nginx", nil, "nginx", "-p", dir, "-c", file)
	if err != nil {
		return nil, err
	}
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	p.web = "http://" + addr
	return p, p.waitFor(addr)
}

// peers are servers that run side by side, by name.
type peers map[string]*peer

func (all peers) stop() {
	for _, p := range all {
		p.stop()
	}
}

// settle waits until no peer has work left of what was measured before: objects
// in Lumen's write log that become files when it is quiet, and pages that the
// kernel has not written yet.
func (all peers) settle(ctx context.Context) error {
	metrics := strings.TrimSuffix(all["lumen"].web, "/dicom-web") + "/metrics"
	for {
		response, err := http.Get(metrics)
		if err != nil {
			return err
		}
		body, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil {
			return err
		}
		_, after, found := strings.Cut(string(body), "\nlumen_stage_objects ")
		if !found && response.StatusCode == http.StatusOK { // 503 while it starts
			return errors.New("lumen does not say what waits in its write log")
		}
		if strings.HasPrefix(after, "0\n") {
			syscall.Sync()
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// startPeers starts Lumen and the named others on empty folders below dir, a
// folder for this work. It stays until the end: some file systems are slow to
// make files where many were removed a moment ago (ext4 without a journal does not
// use their inodes for minutes, and walks over them).
func (b *bench) startPeers(work string, others ...string) (all peers, dir string, err error) {
	if dir, err = os.MkdirTemp(b.dir, work+"-"); err != nil {
		return nil, "", err
	}
	all = peers{}
	for _, name := range append([]string{"lumen"}, others...) {
		var p *peer
		switch name {
		case "lumen":
			p, err = startLumen(dir, b.lumen, b.sink.destination)
		case "orthanc":
			p, err = startOrthanc(dir, true, b.sink.destination)
		case "orthanc-shipped":
			p, err = startOrthanc(dir, false, b.sink.destination)
		case "storescp":
			p, err = startStoreSCP(dir)
		}
		if err != nil {
			all.stop()
			return nil, "", err
		}
		all[name] = p
	}
	return all, dir, nil
}

// webClient keeps up to n connections to one peer alive.
func webClient(n int) *http.Client {
	return &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: n, MaxConnsPerHost: n, DisableCompression: true}}
}

// watchMemory samples p's anonymous memory until ctx ends and returns the peak.
func watchMemory(ctx context.Context, p *peer) <-chan int64 {
	peak := make(chan int64, 1)
	go func() {
		most := p.anonymousMemory()
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				peak <- most
				return
			case <-tick.C:
				most = max(most, p.anonymousMemory())
			}
		}
	}()
	return peak
}
