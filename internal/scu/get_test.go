package scu_test

import (
	"bytes"
	"context"
	"io"
	"iter"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/dimse"
	"lumen/internal/scu"
)

const (
	findClass = dict.UIDStudyRootQueryRetrieveInformationModelFind
	getClass  = dict.UIDStudyRootQueryRetrieveInformationModelGet
	study     = "1.2.34"
)

// object is what a peer has.
type object struct{ class, instance, syntax string }

// archive is a peer that has objects of one study, two in each series.
type archive struct {
	objects      []object
	queries      bool // C-FIND is answered
	syntaxes     bool // ... with Available Transfer Syntax UID
	associations atomic.Int32
}

// serve runs the peer until the test ends.
func (ar *archive) serve(t *testing.T) scu.Peer {
	t.Helper()
	classes := []string{"1.2.840.99999.1"} // a private one
	s := &dimse.Server{Services: []dimse.Service{
		{SOPClasses: append(classes, dict.StorageSOPClasses()...), Store: discard},
		{SOPClasses: []string{getClass}, Get: ar.get},
	}, Events: dimse.Events{Accepted: func(*dimse.Association) { ar.associations.Add(1) }}}
	if ar.queries {
		s.Services = append(s.Services, dimse.Service{SOPClasses: []string{findClass}, Find: ar.find})
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(context.Background(), l) }()
	t.Cleanup(func() {
		s.Shutdown(context.Background())
		<-done
	})
	return scu.Peer{Address: l.Addr().String(), CalledAE: "PEER", CallingAE: "TEST"}
}

func series(i int) string { return study + "." + string(rune('1'+i/2)) }

// find wants all unique keys above the level, as the standard lets it.
func (ar *archive) find(_ context.Context, _ *dimse.Association, rq *dimse.FindRequest) iter.Seq2[*dicom.DataSet, error] {
	return func(yield func(*dicom.DataSet, error) bool) {
		level := rq.Identifier.String(dict.QueryRetrieveLevel)
		of := rq.Identifier.String(dict.SeriesInstanceUID)
		if rq.Identifier.String(dict.StudyInstanceUID) != study || level == "IMAGE" && of == "" {
			yield(nil, &dimse.StatusError{Status: dimse.StatusIdentifierDoesNotMatch})
			return
		}
		last := ""
		for i, o := range ar.objects {
			d := new(dicom.DataSet)
			d.SetString(dict.StudyInstanceUID, study)
			d.SetString(dict.SeriesInstanceUID, series(i))
			if level == "IMAGE" {
				d.SetString(dict.SOPClassUID, o.class)
				if ar.syntaxes {
					d.SetString(dict.AvailableTransferSyntaxUID, o.syntax)
				}
			}
			if of != "" && of != series(i) || level == "SERIES" && series(i) == last {
				continue
			}
			last = series(i)
			if !yield(d, nil) {
				return
			}
		}
	}
}

func (ar *archive) get(ctx context.Context, _ *dimse.Association, _ *dimse.GetRequest, store dimse.SubStore,
	progress func(dimse.SubOperations) error) (dimse.SubOperations, error) {
	n := dimse.SubOperations{Remaining: len(ar.objects)}
	for _, o := range ar.objects {
		ts, _ := dicom.LookupTransferSyntax(o.syntax)
		status, err := store(ctx, dimse.StoreRequest{SOPClassUID: o.class, SOPInstanceUID: o.instance, TransferSyntax: ts}, strings.NewReader(o.instance))
		n.Remaining--
		if err == nil && status == dimse.StatusSuccess {
			n.Completed++
		} else {
			n.Failed++
			n.FailedUIDs = append(n.FailedUIDs, o.instance)
		}
		if err := progress(n); err != nil {
			return n, err
		}
	}
	return n, nil
}

var everything = []object{
	{"1.2.840.99999.1", study + ".101", dicom.JPEG2000},
	{dict.UIDComputedRadiographyImageStorage, study + ".102", dicom.ExplicitVRLittleEndian},
	{dict.UIDVLEndoscopicImageStorage, study + ".103", dicom.JPEGBaseline8Bit},
	{dict.UIDVLEndoscopicImageStorage, study + ".104", dicom.RLELossless},
	{dict.UIDVideoEndoscopicImageStorage, study + ".105", dicom.MPEG2MPML},
	{dict.UIDImplantTemplateGroupStorage, study + ".106", dicom.DeflatedExplicitVRLittleEndian},
}

// fetch gets the study, and returns the instances that are in the files.
func fetch(t *testing.T, p scu.Peer) (got []string, n scu.Counts, err error) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "in")
	most := 0
	n, err = scu.Get(t.Context(), p, dir, "STUDY", []string{"StudyInstanceUID=" + study}, func(n scu.Counts) {
		if n.Completed < most {
			t.Errorf("progress goes back from %d to %d", most, n.Completed)
		}
		most = n.Completed
	})
	names, _ := filepath.Glob(filepath.Join(dir, "*"))
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		meta, _, err := dicom.ReadFileMeta(bytes.NewReader(b))
		if err != nil || !bytes.HasSuffix(b, []byte(meta.MediaStorageSOPInstanceUID)) {
			t.Errorf("%s: %v", filepath.Base(name), err)
		}
		got = append(got, meta.MediaStorageSOPInstanceUID)
	}
	slices.Sort(got)
	return got, n, err
}

// Whatever class and syntax an instance has, it is fetched as it is stored.
func TestGetFetchesEveryClass(t *testing.T) {
	for _, c := range []struct {
		name         string
		ar           *archive
		want         int
		associations int
	}{
		{"the peer tells classes and syntaxes", &archive{objects: everything, queries: true, syntaxes: true}, 6, 2},
		{"the peer tells classes", &archive{objects: everything, queries: true}, 6, 4},
		{"the peer tells nothing", &archive{objects: everything[1:]}, 5, 128},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, n, err := fetch(t, c.ar.serve(t))
			if err != nil || n.Completed != c.want || n.Failed != 0 || len(slices.Compact(got)) != c.want {
				t.Errorf("%+v, %v, files of %q", n, err, got)
			}
			if a := int(c.ar.associations.Load()); a > c.associations {
				t.Errorf("%d associations", a)
			}
		})
	}
}

// What the peer cannot send is told.
func TestGetTellsWhatFailed(t *testing.T) {
	objects := append([]object{{"1.2.840.99999.2", study + ".100", dicom.JPEG2000}}, everything...) // which the peer does not send
	got, n, err := fetch(t, (&archive{objects: objects, queries: true, syntaxes: true}).serve(t))
	if err != nil || n.Completed != 6 || n.Failed != 1 || len(got) != 6 {
		t.Errorf("%+v, %v, %d files", n, err, len(got))
	}
}

// A disk that takes nothing more ends it, with the reason.
func TestGetEndsWhenItCannotWrite(t *testing.T) {
	p := (&archive{objects: everything, queries: true, syntaxes: true}).serve(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "000002.dcm"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	n, err := scu.Get(t.Context(), p, dir, "STUDY", []string{"StudyInstanceUID=" + study}, func(scu.Counts) {})
	if err == nil || !strings.Contains(err.Error(), "000002.dcm") || n.Completed != 1 {
		t.Errorf("%+v, %v", n, err)
	}
	if _, err := scu.Get(t.Context(), p, dir, "SERIES", []string{"StudyInstanceUID=" + study}, nil); err == nil || !strings.Contains(err.Error(), "SeriesInstanceUID") {
		t.Errorf("without a key: %v", err)
	}
}

func discard(_ context.Context, _ *dimse.Association, _ *dimse.StoreRequest, _ io.Reader) error {
	return nil
}
