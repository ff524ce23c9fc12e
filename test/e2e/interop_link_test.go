package e2e_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"lumen/dimse"
	"lumen/internal/peertest"
)

// manyPDUs is a size of pixels that takes many PDUs.
const manyPDUs = 3 << 20

// maximumPDUs are the longest PDUs that DCMTK and Orthanc can say they take, and
// 0, which means any: that neither can say, so a relay says it for them.
var maximumPDUs = []string{"4096", "131072", "0"}

// limited checks what passed a relay: nobody sent more than the other said it
// takes, and both filled what they may.
func (r *relay) limited(t *testing.T, peer string, weCalled bool) {
	t.Helper()
	theirs, ours := r.called.Load(), r.caller.Load()
	said := r.answeredMax.Load()
	if !weCalled {
		theirs, ours = ours, theirs
		said = r.saidMax.Load()
	}
	if fmt.Sprint(said) != peer && !r.unlimit {
		t.Errorf("the peer said %d", said)
	}
	if ours > said || theirs > 1<<20 {
		t.Errorf("we sent a PDU of %d bytes to a peer that takes %d, and it one of %d", ours, said, theirs)
	}
	t.Logf("longest PDU from us %d, from the peer %d; the peer takes %d, without a limit: %t", ours, theirs, said, r.unlimit)
}

// filled expects somebody's longest PDU to be nearly what the other takes.
func filled(t *testing.T, longest, may int64) {
	t.Helper()
	if longest < may*9/10 {
		t.Errorf("PDUs have %d bytes at most, where %d are possible", longest, may)
	}
}

// dcmtkLength is the -pdu option for a maximum, and whether the relay says 0.
func dcmtkLength(maximum string) (option string, unlimit bool) {
	if maximum == "0" {
		return "131072", true
	}
	return maximum, false
}

// storescu, findscu and getscu with short, long and unlimited PDUs.
func dcmtkHasAMaximumPDU(t *testing.T, s *scene) {
	for _, maximum := range maximumPDUs {
		t.Run(maximum, func(t *testing.T) {
			length, unlimit := dcmtkLength(maximum)
			r := (&relay{to: s.lumen.dimse, unlimit: unlimit}).start(t)
			all := stills(t, 2, manyPDUs)
			dcmtkAt(t, r.port, "storescu", append([]string{"-R", "-xy", "-pdu", length}, files(all)...)...)
			filled(t, r.caller.Load(), 100<<10) // what we take does not depend on what the peer takes
			out := dcmtkAt(t, r.port, "findscu", append([]string{"-v", "-S", "-pdu", length}, options("STUDY", all[0].keys("study_root", "STUDY"))...)...)
			if strings.Count(out, "(Pending)") != 1 {
				t.Errorf("findscu: %s", tail(out, 1000))
			}
			dir := t.TempDir()
			dcmtkAt(t, r.port, "getscu", append([]string{"-S", "+B", "-od", dir, "+xy", "-pdu", length}, options("STUDY", all[0].keys("study_root", "STUDY"))...)...)
			sameToReaders(t, all, arrived(t, folder(t, dir)))
			r.limited(t, length, false)
			filled(t, r.called.Load(), r.saidMax.Load())
		})
	}
}

// storescp and dcmqrscp with short, long and unlimited PDUs.
func weKeepToDCMTKsMaximumPDU(t *testing.T, s *scene) {
	for _, maximum := range maximumPDUs {
		t.Run(maximum, func(t *testing.T) {
			length, unlimit := dcmtkLength(maximum)
			sink := startReceiver(t, "SINK", "-pdu", length)
			r := (&relay{to: "127.0.0.1:" + sink.port, unlimit: unlimit}).start(t)
			all := stills(t, 2, manyPDUs)
			send(t, "SINK@"+r.addr(), all)
			sameToReaders(t, all, arrived(t, sink.take(t)))
			r.limited(t, length, true)
			filled(t, r.caller.Load(), r.answeredMax.Load())
		})
	}
	t.Run("get_0", func(t *testing.T) { // dcmqrscp fills what we take, when we say that we take any
		addr := startQR(t, s, "+xy")
		all := stills(t, 2, manyPDUs)
		send(t, "QR@"+addr, all)
		r := (&relay{to: addr, unlimit: true}).start(t)
		dir := t.TempDir()
		get(t, r.addr(), "QR", models[1].get, identifier("STUDY", all[0].keys("study_root", "STUDY")...), dir, len(all), jpegBaseline)
		sameToReaders(t, all, arrived(t, folder(t, dir)))
		r.limited(t, "131072", true)
		filled(t, r.called.Load(), 100<<10)
	})
}

// limitedOrthanc is an Orthanc of its own that takes PDUs of a length, with a
// relay before the node and one before Orthanc.
func limitedOrthanc(t *testing.T, s *scene, maximum string) (o *orthanc, toNode, toOrthanc *relay) {
	t.Helper()
	length, unlimit := dcmtkLength(maximum)
	toNode = (&relay{to: s.lumen.dimse, unlimit: unlimit}).start(t)
	o = startOrthanc(t, peertest.FreePort(t), map[string]string{"LUMEN": toNode.addr()}, map[string]any{"MaximumPduLength": number(length)})
	toOrthanc = (&relay{to: o.dicom, unlimit: unlimit}).start(t)
	return o, toNode, toOrthanc
}

func orthancHasAMaximumPDU(t *testing.T, s *scene) {
	for _, maximum := range maximumPDUs {
		t.Run(maximum, func(t *testing.T) {
			o, r, _ := limitedOrthanc(t, s, maximum)
			all := stills(t, 2, manyPDUs)
			ids, _ := o.own(t, all)
			for _, id := range ids {
				o.post(t, "/modalities/LUMEN/store", []byte(id), nil)
			}
			if n := countAt(t, s.lumen.dimse, "LUMEN", all[0].study); n != len(all) {
				t.Errorf("%d instances came", n)
			}
			if _, n := o.query(t, "Instance", map[string]string{"StudyInstanceUID": all[0].study, "SeriesInstanceUID": all[0].series}); n != len(all) {
				t.Errorf("Orthanc finds %d instances", n)
			}
			length, _ := dcmtkLength(maximum)
			r.limited(t, length, false)
			filled(t, r.caller.Load(), 100<<10)
		})
	}
}

func weKeepToOrthancsMaximumPDU(t *testing.T, s *scene) {
	for _, maximum := range maximumPDUs {
		t.Run(maximum, func(t *testing.T) {
			o, _, r := limitedOrthanc(t, s, maximum)
			all := stills(t, 2, manyPDUs)
			ids, reads := o.own(t, all)
			o.forget(t, ids)
			send(t, "ORTHANC@"+r.addr(), all)
			commandGets(t, "ORTHANC@"+r.addr(), all)
			sameToOrthanc(t, o, all, reads)
			length, _ := dcmtkLength(maximum)
			r.limited(t, length, true)
			filled(t, r.caller.Load(), r.answeredMax.Load())
			filled(t, r.called.Load(), 100<<10)
		})
	}
}

// DCMTK ends associations in all the ways that it can, and in some that it
// cannot: a relay cuts what it sends in the middle of a PDU.
func dcmtkAborts(t *testing.T, s *scene) {
	t.Run("echo", func(t *testing.T) { s.dcmtk(t, "echoscu", "--abort") })
	t.Run("find", func(t *testing.T) {
		s.dcmtk(t, "findscu", append([]string{"-S", "--abort"}, options("STUDY", []string{"PatientID="})...)...)
	})
	t.Run("after_store", func(t *testing.T) { // what was acknowledged is kept
		all := stills(t, 1, 100)
		s.dcmtk(t, "storescu", "-R", "-xy", "--abort", all[0].file)
		if n := countAt(t, s.lumen.dimse, "LUMEN", all[0].study); n != 1 {
			t.Errorf("%d instances", n)
		}
	})
	t.Run("cut_in_a_PDU", func(t *testing.T) {
		all := stills(t, 1, manyPDUs)
		r := (&relay{to: s.lumen.dimse, cutAfter: 5}).start(t)
		out, code := run(t, "storescu", dcmtkArgs(r.port, "-R", "-xy", all[0].file)...)
		if code == 0 {
			t.Errorf("storescu has not noticed: %s", out)
		}
		s.lacks(t, all[0].study)
		s.dcmtk(t, "storescu", "-R", "-xy", all[0].file)
		if n := countAt(t, s.lumen.dimse, "LUMEN", all[0].study); n != 1 {
			t.Errorf("%d instances after it was sent again", n)
		}
	})
	t.Run("killed_in_a_PDU", func(t *testing.T) {
		all := stills(t, 1, manyPDUs)
		r := (&relay{to: s.lumen.dimse, cutAfter: 5, hold: true}).start(t)
		cmd := peertest.Command(t, "storescu", dcmtkArgs(r.port, "-R", "-xy", all[0].file)...)
		killWhenHeld(t, r, cmd)
		s.lacks(t, all[0].study)
	})
	t.Run("while_getting", func(t *testing.T) { // getscu is killed while the node sends to it
		all := stills(t, 20, manyPDUs)
		s.put(t, all)
		r := (&relay{to: s.lumen.dimse, cutAfter: 4, hold: true}).start(t)
		cmd := peertest.Command(t, "getscu", dcmtkArgs(r.port, append([]string{"-S", "+B", "-od", t.TempDir(), "+xy"}, options("STUDY", all[0].keys("study_root", "STUDY"))...)...)...)
		killWhenHeld(t, r, cmd)
	})
	s.survives(t)
}

// killWhenHeld starts a program and kills it while a relay holds the second half
// of one of its PDUs.
func killWhenHeld(t *testing.T, r *relay, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-r.held:
	case <-time.After(20 * time.Second):
		t.Error("the program does not come to the PDU that is to be cut")
	}
	cmd.Process.Kill()
	cmd.Wait()
}

// survives expects the node to have no association left, to answer, and to find
// its archive and journal whole.
func (s *scene) survives(t *testing.T) {
	t.Helper()
	s.lumen.until("no association is open", 20*time.Second, func() bool { return s.lumen.associations(t) == 0 })
	echoes(t, "LUMEN@"+s.lumen.dimse)
	s.lumen.clean()
}

var associationsLine = regexp.MustCompile(`(?m)^lumen_scp_associations (\d+)$`)

// associations reads how many there are off the metrics.
func (n *node) associations(t *testing.T) int {
	t.Helper()
	_, metrics := n.get(n.url("/metrics"), "text/plain")
	m := associationsLine.FindSubmatch(metrics)
	if m == nil {
		t.Fatal("the metrics do not say how many associations are open")
	}
	open, err := strconv.Atoi(string(m[1]))
	if err != nil {
		t.Fatal(err)
	}
	return open
}

// storescp ends associations in all the ways that it can; a relay cuts what we
// send.
func weAbortAtDCMTK(t *testing.T, s *scene) {
	for _, when := range []string{"--abort-after", "--abort-during", "--refuse"} {
		t.Run("storescp"+when, func(t *testing.T) {
			sink := startReceiver(t, "SINK", when)
			out, code := run(t, lumenBinary, append([]string{"send", "SINK@127.0.0.1:" + sink.port}, files(stills(t, 1, manyPDUs))...)...)
			if code != 1 {
				t.Errorf("send ends with %d: %s", code, tail(out, 1000))
			}
		})
	}
	t.Run("cut_in_a_PDU", func(t *testing.T) {
		all := stills(t, 1, manyPDUs)
		cutAt(t, "SINK@", &relay{to: "127.0.0.1:" + s.sink.port, cutAfter: 5}, all)
		if partial := s.sink.take(t); len(partial) > 0 {
			t.Logf("storescp leaves %d unfinished files", len(partial)) // with +B it writes as it receives
		}
		send(t, "SINK@127.0.0.1:"+s.sink.port, all)
		sameToReaders(t, all, arrived(t, s.sink.take(t)))
	})
	t.Run("abort_in_an_object", func(t *testing.T) { aborts(t, "127.0.0.1:"+s.sink.port, "SINK") })
	t.Run("C-MOVE_to_a_peer_that_aborts", func(t *testing.T) {
		sink := startReceiver(t, "AWAY", "--abort-after")
		n := startNode(t, fmt.Sprintf("destinations: [{title: AWAY, address: \"127.0.0.1:%s\", retries: 0}]\n", sink.port))
		all := stills(t, 2, 1000)
		send(t, "LUMEN@"+n.dimse, all)
		out, code := run(t, lumenBinary, "move", "--to", "AWAY", n.dimse, "StudyInstanceUID="+all[0].study)
		if code != 1 || !strings.Contains(out, "0 done, 2 failed") {
			t.Errorf("move ends with %d: %s", code, tail(out, 1000))
		}
		echoes(t, "LUMEN@"+n.dimse)
	})
	echoes(t, "SINK@127.0.0.1:"+s.sink.port)
}

// cutAt has `lumen send` send through a relay that cuts it, and expects it to
// say so.
func cutAt(t *testing.T, title string, r *relay, all []specimen) {
	t.Helper()
	r.start(t)
	if out, code := run(t, lumenBinary, append([]string{"send", title + r.addr()}, files(all)...)...); code != 1 {
		t.Errorf("send ends with %d: %s", code, tail(out, 1000))
	}
}

// aborts breaks C-STORE off in the middle of its data set.
func aborts(t *testing.T, addr, title string) {
	t.Helper()
	all := stills(t, 1, manyPDUs)
	c := dialContexts(t, &dialer, addr, title, presentation(vlEndoscopic, dimse.RoleSCU, jpegBaseline))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if _, err := storeFile(ctx, c, all[0], func(r io.Reader) io.Reader { return &changesMind{Reader: r, after: manyPDUs / 2, end: cancel} }); err == nil {
		t.Error("the store goes on after an abort")
	}
	echoes(t, title+"@"+addr)
}

// changesMind calls end once so many bytes were read.
type changesMind struct {
	io.Reader
	after int
	end   func()
}

func (c *changesMind) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	if c.after -= n; c.after <= 0 {
		c.end()
	}
	return n, err
}

// Orthanc's associations are cut, and Orthanc is killed.
func orthancAborts(t *testing.T, s *scene) {
	t.Run("cut_in_a_PDU", func(t *testing.T) {
		r := (&relay{to: s.lumen.dimse, cutAfter: 5}).start(t)
		o := startOrthanc(t, peertest.FreePort(t), map[string]string{"LUMEN": r.addr()}, nil)
		all := stills(t, 1, manyPDUs)
		ids, _ := o.own(t, all)
		if status, answer := o.try(t, http.MethodPost, "/modalities/LUMEN/store", []byte(ids[0])); status == http.StatusOK {
			t.Errorf("Orthanc has not noticed: %s", answer)
		}
		s.lacks(t, all[0].study)
	})
	t.Run("killed_in_a_PDU", func(t *testing.T) {
		r := (&relay{to: s.lumen.dimse, cutAfter: 5, hold: true}).start(t)
		o := startOrthanc(t, peertest.FreePort(t), map[string]string{"LUMEN": r.addr()}, nil)
		all := stills(t, 1, manyPDUs)
		ids, _ := o.own(t, all)
		o.post(t, "/modalities/LUMEN/store", fmt.Appendf(nil, `{"Resources": [%q], "Synchronous": false}`, ids[0]), nil)
		select {
		case <-r.held:
		case <-time.After(20 * time.Second):
			t.Error("Orthanc does not come to the PDU that is to be cut")
		}
		o.kill()
		s.lacks(t, all[0].study)
	})
	s.survives(t)
}

func weAbortAtOrthanc(t *testing.T, s *scene) {
	t.Run("cut_in_a_PDU", func(t *testing.T) {
		all := stills(t, 1, manyPDUs)
		cutAt(t, "ORTHANC@", &relay{to: s.orthanc.dicom, cutAfter: 5}, all)
		if s.orthanc.find(t, all[0].instance) != "" {
			t.Error("Orthanc keeps what was not sent to its end")
		}
		send(t, "ORTHANC@"+s.orthanc.dicom, all)
	})
	t.Run("abort_in_an_object", func(t *testing.T) { aborts(t, s.orthanc.dicom, "ORTHANC") })
	t.Run("C-MOVE_to_a_peer_that_is_killed", func(t *testing.T) {
		port := peertest.FreePort(t)
		n := startNode(t, fmt.Sprintf("destinations: [{title: AWAY, address: \"127.0.0.1:%s\", retries: 0}]\n", port))
		all := stills(t, 2, manyPDUs)
		send(t, "LUMEN@"+n.dimse, all)
		o := startOrthanc(t, port, nil, nil)
		o.kill()
		out, code := run(t, lumenBinary, "move", "--to", "AWAY", n.dimse, "StudyInstanceUID="+all[0].study)
		if code != 1 {
			t.Errorf("move ends with %d: %s", code, tail(out, 1000))
		}
		echoes(t, "LUMEN@"+n.dimse)
	})
}
