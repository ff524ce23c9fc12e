package scp_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/dimse"
	"lumen/internal/peertest"
	"lumen/store"
)

func host(addr string) string { h, _, _ := net.SplitHostPort(addr); return h }
func port(addr string) string { _, p, _ := net.SplitHostPort(addr); return p }

func study(uid string) *dicom.DataSet { return identifier("STUDY", "StudyInstanceUID", uid) }

func TestMoveSendsWhatWasStored(t *testing.T) {
	r := receive(t, nil, nil)
	n := start(t, to("THERE", r.addr))
	var images []*dicom.DataSet
	for i := range 5 {
		images = append(images, image(1, i))
	}
	big := image(1, 99, func(d *dicom.DataSet) { d.SetBytes(dict.PixelData, dict.OW, make([]byte, 3<<20)) })
	images = append(images, big)
	n.put(t, images...)
	n.put(t, image(2, 1))
	for _, c := range []struct {
		name string
		id   *dicom.DataSet
		want int
	}{
		{"study", study("1.2.826.0.1.1"), 6},
		{"two studies", study(`1.2.826.0.1.1\1.2.826.0.1.2`), 7},
		{"series", identifier("SERIES", "StudyInstanceUID", "1.2.826.0.1.1", "SeriesInstanceUID", "1.2.826.0.1.1.1"), 6},
		{"series without study", identifier("SERIES", "SeriesInstanceUID", "1.2.826.0.1.1.1"), 6},
		{"instances", identifier("IMAGE", "StudyInstanceUID", "1.2.826.0.1.1", "SeriesInstanceUID", "1.2.826.0.1.1.1",
			"SOPInstanceUID", `1.2.826.0.1.1.1.0\1.2.826.0.1.1.1.99`), 2},
		{"instance without study", identifier("IMAGE", "SOPInstanceUID", "1.2.826.0.1.1.1.3"), 1},
		{"nothing there", study("1.2.3"), 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			r.reset()
			pending := 0
			counts, err := n.dial(t, moveStudy).Move(t.Context(), moveStudy, "THERE", c.id, func(p dimse.SubOperations) error {
				pending++
				if p.Remaining+p.Completed != c.want {
					t.Errorf("pending counts %+v", p)
				}
				return nil
			})
			if err != nil || counts.Completed != c.want || counts.Failed != 0 || r.len() != c.want {
				t.Fatalf("%+v, %d received, %v", counts, r.len(), err)
			}
			if want := max(0, c.want-1); pending != want {
				t.Errorf("%d pending responses, want %d", pending, want)
			}
		})
	}
	counts, err := n.dial(t, moveStudy).Move(t.Context(), moveStudy, "THERE", study("1.2.826.0.1.1"), nil)
	if err != nil || counts.Completed != len(images) {
		t.Fatal(counts, err)
	}
	for _, d := range images {
		if !bytes.Equal(r.got[d.String(dict.SOPInstanceUID)], encode(t, d)) {
			t.Error("the destination got other bytes than were stored")
		}
	}
	if from := r.from[len(r.from)-1]; from.AE != "TOWER" || from.MessageID == 0 {
		t.Errorf("move originator %+v", from)
	}
	if kinds := n.journal.Kinds(); !slices.Contains(kinds, store.EventRetrieveBegin) {
		t.Error("the retrieval is not in the journal")
	}
}

func TestMoveToAnUnknownDestination(t *testing.T) {
	n := start(t)
	n.put(t, image(1, 1))
	_, err := n.dial(t, moveStudy).Move(t.Context(), moveStudy, "NOWHERE", study("1.2.826.0.1.1"), nil)
	if statusOf(err) != dimse.StatusDestinationUnknown {
		t.Error(err)
	}
}

func TestMoveWithoutItsKey(t *testing.T) {
	n := start(t, to("THERE", "127.0.0.1:1"))
	for _, id := range []*dicom.DataSet{identifier("STUDY"), identifier("SERIES", "StudyInstanceUID", "1.2.3"), identifier("")} {
		_, err := n.dial(t, moveStudy).Move(t.Context(), moveStudy, "THERE", id, nil)
		if statusOf(err) != dimse.StatusIdentifierDoesNotMatch {
			t.Error(err)
		}
	}
}

func TestMoveTellsWhatFailed(t *testing.T) {
	refuse := &dimse.StatusError{Status: dimse.StatusOutOfResources}
	warn := &dimse.StatusError{Status: dimse.StatusCoercion}
	for _, c := range []struct {
		name   string
		answer func(n int) error
		status dimse.Status // of the error; 0 for none
		want   dimse.SubOperations
	}{
		{"one of three", func(n int) error {
			if n == 2 {
				return refuse
			}
			return nil
		}, 0, dimse.SubOperations{Completed: 2, Failed: 1}},
		{"a warning", func(n int) error {
			if n == 1 {
				return warn
			}
			return nil
		}, 0, dimse.SubOperations{Completed: 2, Warning: 1}},
		{"all", func(int) error { return refuse }, dimse.StatusSubOperationsImpossible, dimse.SubOperations{Failed: 3}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := receive(t, nil, c.answer)
			n := start(t, to("THERE", r.addr))
			n.put(t, image(1, 1), image(1, 2), image(1, 3))
			got, err := n.dial(t, moveStudy).Move(t.Context(), moveStudy, "THERE", study("1.2.826.0.1.1"), nil)
			if statusOf(err) != c.status || got.Completed != c.want.Completed || got.Failed != c.want.Failed ||
				got.Warning != c.want.Warning || len(got.FailedUIDs) != c.want.Failed {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
}

func TestMoveGoesOnAfterALostAssociation(t *testing.T) {
	r := receive(t, nil, func(n int) error {
		if n == 2 {
			panic("the destination falls over")
		}
		return nil
	})
	n := start(t, to("THERE", r.addr))
	n.put(t, image(1, 1), image(1, 2), image(1, 3))
	got, err := n.dial(t, moveStudy).Move(t.Context(), moveStudy, "THERE", study("1.2.826.0.1.1"), nil)
	if err != nil || got.Completed != 3 || r.len() != 3 {
		t.Errorf("%+v, %d received, %v", got, r.len(), err)
	}
}

func TestMoveIsCancelledBetweenSubOperations(t *testing.T) {
	r := receive(t, nil, func(int) error {
		<-time.After(20 * time.Millisecond)
		return nil
	})
	n := start(t, to("THERE", r.addr))
	var images []*dicom.DataSet
	for i := range 100 {
		images = append(images, image(1, i))
	}
	n.put(t, images...)
	enough := errors.New("enough")
	got, err := n.dial(t, moveStudy).Move(t.Context(), moveStudy, "THERE", study("1.2.826.0.1.1"),
		func(dimse.SubOperations) error { return enough })
	if statusOf(err) != dimse.StatusCancel || got.Remaining == 0 || got.Completed == 0 || got.Completed+got.Remaining != len(images) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestMoveOfManyClassesUsesSeveralAssociations(t *testing.T) {
	r := receive(t, nil, nil)
	n := start(t, to("THERE", r.addr))
	classes := dict.StorageSOPClasses()
	if len(classes) < 130 {
		t.Fatalf("only %d storage classes", len(classes))
	}
	for i, class := range classes[:130] {
		d := image(1, i, func(d *dicom.DataSet) { d.SetString(dict.SOPClassUID, class) })
		c := n.dial(t, class)
		if status, err := c.Store(t.Context(), announce(d), bytes.NewReader(encode(t, d))); err != nil || status != 0 {
			t.Fatal(status, err)
		}
		c.Release(t.Context())
	}
	got, err := n.dial(t, moveStudy).Move(t.Context(), moveStudy, "THERE", study("1.2.826.0.1.1"), nil)
	if err != nil || got.Completed != 130 || r.len() != 130 {
		t.Errorf("%+v, %d received, %v", got, r.len(), err)
	}
}

func TestGetSendsOnTheSameAssociation(t *testing.T) {
	n := start(t)
	var images []*dicom.DataSet
	for i := range 5 {
		images = append(images, image(1, i))
	}
	images = append(images, image(1, 99, func(d *dicom.DataSet) { d.SetBytes(dict.PixelData, dict.OW, make([]byte, 3<<20)) }))
	n.put(t, images...)
	c := n.dialContexts(t, dimse.PresentationContext{SOPClass: getStudy, TransferSyntaxes: plain},
		dimse.PresentationContext{SOPClass: ctClass, TransferSyntaxes: plain, Role: dimse.RoleSCP})
	got := make(map[string][]byte)
	counts, err := c.Get(t.Context(), getStudy, study("1.2.826.0.1.1"), func(_ context.Context, rq *dimse.StoreRequest, data io.Reader) error {
		b, err := io.ReadAll(data)
		got[rq.SOPInstanceUID] = b
		return err
	}, nil)
	if err != nil || counts.Completed != len(images) {
		t.Fatalf("%+v, %v", counts, err)
	}
	for _, d := range images {
		if !bytes.Equal(got[d.String(dict.SOPInstanceUID)], encode(t, d)) {
			t.Error("C-GET brought other bytes than were stored")
		}
	}
}

// An identifier has room for a hundred thousand UIDs: were each a retrieval of
// its own, one request could take all memory there is.
func TestRepeatedKeysAreOne(t *testing.T) {
	n := start(t)
	n.put(t, image(1, 1), image(1, 2), image(2, 1))
	const first, second = "1.2.826.0.1.1", "1.2.826.0.1.2"
	for _, c := range []struct {
		name string
		id   *dicom.DataSet
		want int
	}{
		{"studies", study(first + `\` + second + `\` + first + `\` + first), 3},
		{"series", identifier("SERIES", "StudyInstanceUID", first, "SeriesInstanceUID", first+`.1\`+first+".1"), 2},
		{"series without their study", identifier("SERIES", "SeriesInstanceUID", first+`.1\`+first+".1"), 2},
		{"instances", identifier("IMAGE", "StudyInstanceUID", first, "SOPInstanceUID", first+`.1.1\`+first+".1.1"), 1},
		{"instances without their study", identifier("IMAGE", "SOPInstanceUID", first+`.1.1\`+first+".1.1"), 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			client := n.dialContexts(t, dimse.PresentationContext{SOPClass: getStudy, TransferSyntaxes: plain},
				dimse.PresentationContext{SOPClass: ctClass, TransferSyntaxes: plain, Role: dimse.RoleSCP})
			counts, err := client.Get(t.Context(), getStudy, c.id, func(_ context.Context, _ *dimse.StoreRequest, data io.Reader) error {
				_, err := io.Copy(io.Discard, data)
				return err
			}, nil)
			if err != nil || counts.Completed != c.want {
				t.Errorf("%+v, %v, want %d instances", counts, err, c.want)
			}
		})
	}
}

// Unique keys above the level hold: what is another patient's, study's or
// series' is not sent (PS3.4 C.4.3.2.1).
func TestKeysOfUpperLevelsHold(t *testing.T) {
	issuer := func(name string) func(*dicom.DataSet) {
		return func(d *dicom.DataSet) {
			d.SetString(dict.PatientID, "SAME")
			d.SetString(dict.IssuerOfPatientID, name)
		}
	}
	n := start(t)
	n.put(t, image(1, 1), image(1, 2), image(2, 1), image(31, 1, issuer("X")), image(32, 1, issuer("Y")), image(32, 2, issuer("Y")))
	const first, second = "1.2.826.0.1.1", "1.2.826.0.1.2" // of P0
	const get = dict.UIDPatientRootQueryRetrieveInformationModelGet
	for _, c := range []struct {
		id   *dicom.DataSet
		want int
	}{
		{identifier("PATIENT", "PatientID", "SAME"), 3},
		{identifier("PATIENT", "PatientID", "SAME", "IssuerOfPatientID", "X"), 1},
		{identifier("PATIENT", "PatientID", "SAME", "IssuerOfPatientID", "Z"), 0},
		{identifier("STUDY", "PatientID", "P0", "StudyInstanceUID", first), 2},
		{identifier("STUDY", "PatientID", "", "StudyInstanceUID", first), 2},
		{identifier("STUDY", "PatientID", "P1", "StudyInstanceUID", first), 0},
		{identifier("STUDY", "PatientID", "SAME", "StudyInstanceUID", first+`\1.2.826.0.1.32`), 2},
		{identifier("STUDY", "IssuerOfPatientID", "X", "StudyInstanceUID", `1.2.826.0.1.31\1.2.826.0.1.32`), 1},
		{identifier("SERIES", "PatientID", "P1", "StudyInstanceUID", first, "SeriesInstanceUID", first+".1"), 0},
		{identifier("SERIES", "PatientID", "P1", "SeriesInstanceUID", first+".1"), 0},
		{identifier("SERIES", "PatientID", "P0", "SeriesInstanceUID", first+".1"), 2},
		{identifier("SERIES", "StudyInstanceUID", first+`\`+second, "SeriesInstanceUID", "1.2.826.0.1.31.1"), 0},
		{identifier("IMAGE", "PatientID", "P0", "StudyInstanceUID", first, "SeriesInstanceUID", first+".1", "SOPInstanceUID", first+".1.2"), 1},
		{identifier("IMAGE", "PatientID", "P1", "StudyInstanceUID", first, "SeriesInstanceUID", first+".1", "SOPInstanceUID", first+".1.2"), 0},
		{identifier("IMAGE", "StudyInstanceUID", first+`\`+second, "SOPInstanceUID", first+`.1.2\1.2.826.0.1.31.1.1`), 1},
		{identifier("IMAGE", "SeriesInstanceUID", second+".1", "SOPInstanceUID", first+`.1.2\`+second+".1.1"), 1},
	} {
		client := n.dialContexts(t, dimse.PresentationContext{SOPClass: get, TransferSyntaxes: plain},
			dimse.PresentationContext{SOPClass: ctClass, TransferSyntaxes: plain, Role: dimse.RoleSCP})
		counts, err := client.Get(t.Context(), get, c.id, func(_ context.Context, _ *dimse.StoreRequest, data io.Reader) error {
			_, err := io.Copy(io.Discard, data)
			return err
		}, nil)
		if err != nil || counts.Completed != c.want || counts.Failed > 0 {
			var keys strings.Builder
			for e := range c.id.All() {
				fmt.Fprintf(&keys, " %v=%s", e.Tag, e.Value)
			}
			t.Errorf("%s: %+v, %v, want %d instances", keys.String(), counts, err, c.want)
		}
	}
}

func TestGetOfAClassThatIsNotNegotiatedFails(t *testing.T) {
	n := start(t)
	n.put(t, image(1, 1))
	_, err := n.dial(t, getStudy).Get(t.Context(), getStudy, study("1.2.826.0.1.1"), nil, nil)
	var status *dimse.StatusError
	if !errors.As(err, &status) || status.Status != dimse.StatusSubOperationsImpossible || !strings.Contains(status.Comment, "context") {
		t.Error(err)
	}
}

func TestStoreStatuses(t *testing.T) {
	n := start(t)
	c := n.dial(t, ctClass)
	good := image(1, 1)
	other := image(1, 2)
	for _, s := range []struct {
		name string
		rq   dimse.StoreRequest
		data []byte
		want dimse.Status
	}{
		{"good", announce(good), encode(t, good), dimse.StatusSuccess},
		{"again", announce(good), encode(t, good), dimse.StatusSuccess},
		{"other instance than announced", announce(other), encode(t, good), dimse.StatusDataSetDoesNotMatch},
		{"no data set at all", announce(other), []byte("this is no data set, whatever it may look like to you"), dimse.StatusCannotUnderstand},
	} {
		t.Run(s.name, func(t *testing.T) {
			status, err := c.Store(t.Context(), s.rq, bytes.NewReader(s.data))
			if err != nil || status != s.want {
				t.Errorf("%v, %v", status, err)
			}
		})
	}
	n.journal.Fail(store.ErrJournal, false)
	if status, err := c.Store(t.Context(), announce(other), bytes.NewReader(encode(t, other))); err != nil || status != dimse.StatusOutOfResources {
		t.Errorf("with the journal down: %v, %v", status, err)
	}
}

func TestStoreTellsThatAUIDIsMissing(t *testing.T) {
	n := start(t)
	path := file(t, image(1, 1, func(d *dicom.DataSet) { d.Delete(dict.StudyInstanceUID) }))
	out, _ := peertest.Command(t, "storescu", "-d", "-aec", "LUMEN", host(n.addr), port(n.addr), path).CombinedOutput()
	if !strings.Contains(string(out), "no valid study, series or SOP instance") {
		t.Errorf("no Error Comment in %s", out)
	}
}

func TestReceiverThatTakesOnlyImplicitVR(t *testing.T) {
	implicit, _ := dicom.LookupTransferSyntax(dicom.ImplicitVRLittleEndian)
	only := func(_ string, offered []string) string {
		if slices.Contains(offered, implicit.UID) {
			return implicit.UID
		}
		return ""
	}
	r := receive(t, only, nil)
	n := start(t, to("THERE", r.addr))
	d := image(1, 1, func(d *dicom.DataSet) { d.SetBytes(dict.PixelData, dict.OW, make([]byte, 2<<20)) })
	n.put(t, d, image(1, 2))
	counts, err := n.dial(t, moveStudy).Move(t.Context(), moveStudy, "THERE", study("1.2.826.0.1.1"), nil)
	if err != nil || counts.Completed != 2 {
		t.Fatal(counts, err)
	}
	got, err := dicom.ParseDataSet(r.got[d.String(dict.SOPInstanceUID)], implicit)
	if err != nil || got.Len() != d.Len() || !bytes.Equal(got.Raw(dict.PixelData), d.Raw(dict.PixelData)) {
		t.Errorf("the data set was not turned into Implicit VR: %v", err)
	}
}
