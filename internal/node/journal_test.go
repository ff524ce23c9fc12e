package node

import (
	"reflect"
	"testing"

	"lumen/access"
	"lumen/audit"
	"lumen/store"
)

// What the archive replays after a crash is what it recorded.
func TestEventsSurviveTheJournal(t *testing.T) {
	for kind := store.EventAssociationAccepted; kind <= store.EventSecurityAlert; kind++ {
		want := store.Event{
			Kind:      kind,
			Outcome:   store.OutcomeMinorFailure,
			Principal: access.Principal{Tenant: "default", Kind: access.KindAE, Name: "TOWER1"},
			Request:   store.Request{ID: "00ff", Protocol: "C-MOVE", Peer: "127.0.0.1:104", CallingAE: "TOWER1", Destination: "VIEWER"},
			PatientID: "P1", IssuerOfPatientID: "CLINIC", StudyInstanceUID: "1.2.3", Instances: []string{"1.2.3.4"},
			Blob: "aa/bb/cc", Counts: store.Counts{Instances: 1, Frames: 2, Bytes: 3},
			Detail: map[string]string{"reason": "none"},
		}
		r, err := recordOf(want)
		if err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		got, err := eventOf(audit.Entry{Payload: r.Payload, Leaf: audit.Leaf{
			Code: r.Code, Outcome: r.Outcome, Request: r.Request, Object: r.Object,
			Instances: r.Instances, Frames: r.Frames, Bytes: r.Bytes,
		}})
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v\nwant %+v", kind, got, err, want)
		}
	}
}

func TestEmptyEventHasNoDetail(t *testing.T) {
	r, err := recordOf(store.Event{Kind: store.EventStart})
	if err != nil {
		t.Fatal(err)
	}
	if string(r.Payload) != "{}" || r.Actor != "" || r.Patient != "" {
		t.Errorf("%+v %s", r, r.Payload)
	}
}

func TestPatientsOfDifferentIssuersAreDifferent(t *testing.T) {
	if patient("7", "A") == patient("7", "B") || patient("7", "") == patient("7", "A") {
		t.Error("two issuers' patients are one")
	}
	if patient(" 7 ", "A") != patient("7", "A ") {
		t.Error("padding makes another patient")
	}
	if patient("  ", "A") != "" {
		t.Error("an empty id became a patient")
	}
}
