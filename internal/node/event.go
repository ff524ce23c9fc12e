package node

import (
	"fmt"
	"maps"
	"strings"

	"lumen/access"
	"lumen/audit"
	"lumen/store"
)

// What an event has and a payload has no field of its own for goes into the
// payload's Detail under these names.
const (
	detailTenant    = "principal_tenant"
	detailKind      = "principal_kind"
	detailCallingAE = "calling_ae"
	detailIssuer    = "issuer_of_patient_id"
)

// maxDetail is how much of one further detail is recorded, in bytes: more than
// any of ours has. What a peer chose must not fill the disk.
const maxDetail = 8 << 10

// recordOf makes the journal's record of an event: what identifies somebody is
// given as actor, patient and study, of which the leaf has tokens only, and in
// the payload, which is sealed.
func recordOf(e store.Event) (audit.Record, error) {
	code, ok := codes[e.Kind]
	if !ok {
		return audit.Record{}, fmt.Errorf("the journal has no code for events of kind %d", e.Kind)
	}
	p := audit.Payload{
		Actor: e.Principal.Name, Peer: e.Request.Peer,
		PatientID: e.PatientID, StudyUID: e.StudyInstanceUID, InstanceUIDs: e.Instances,
		Protocol: e.Request.Protocol, Destination: e.Request.Destination,
		Detail: maps.Clone(e.Detail),
	}
	for name, value := range map[string]string{
		detailTenant: e.Principal.Tenant, detailKind: string(e.Principal.Kind),
		detailCallingAE: e.Request.CallingAE, detailIssuer: e.IssuerOfPatientID,
	} {
		if value != "" {
			if p.Detail == nil {
				p.Detail = map[string]string{}
			}
			p.Detail[name] = value
		}
	}
	for name, value := range p.Detail {
		if len(value) > maxDetail {
			p.Detail[name] = strings.ToValidUTF8(value[:maxDetail], "") + "..."
		}
	}
	return audit.Record{
		Code:    code,
		Outcome: audit.Outcome(e.Outcome),
		Actor:   actor(e.Principal), Patient: patient(e.PatientID, e.IssuerOfPatientID), Study: e.StudyInstanceUID,
		Request: e.Request.ID, Object: e.Blob,
		Instances: e.Counts.Instances, Frames: e.Counts.Frames, Bytes: e.Counts.Bytes,
		Payload: p.Encode(),
	}, nil
}

// actor is what stands behind an actor's token. A name alone would make an AE
// and a user of the same name one.
func actor(p access.Principal) string {
	if p.Name == "" {
		return ""
	}
	return string(p.Kind) + ":" + p.Name
}

// patient is what stands behind a patient's token: the trimmed id with its
// issuer. An empty id identifies nobody.
func patient(id, issuer string) string {
	if id = strings.TrimSpace(id); id == "" {
		return ""
	}
	return id + "\x00" + strings.TrimSpace(issuer)
}

// eventOf is the way back from an entry whose payload is open.
func eventOf(entry audit.Entry) (store.Event, error) {
	var p audit.Payload
	if len(entry.Payload) > 0 {
		var err error
		if p, err = audit.ParsePayload(entry.Payload); err != nil {
			return store.Event{}, err
		}
	}
	e := store.Event{
		Kind:    kinds[entry.Leaf.Code], // 0, which nobody acts upon, for the log's own codes
		Outcome: store.Outcome(entry.Leaf.Outcome),
		Principal: access.Principal{
			Tenant: p.Detail[detailTenant], Kind: access.Kind(p.Detail[detailKind]), Name: p.Actor,
		},
		Request: store.Request{
			ID: entry.Leaf.Request, Protocol: p.Protocol, Peer: p.Peer,
			CallingAE: p.Detail[detailCallingAE], Destination: p.Destination,
		},
		PatientID: p.PatientID, IssuerOfPatientID: p.Detail[detailIssuer],
		StudyInstanceUID: p.StudyUID, Instances: p.InstanceUIDs, Blob: entry.Leaf.Object,
		Counts: store.Counts{Instances: entry.Leaf.Instances, Frames: entry.Leaf.Frames, Bytes: entry.Leaf.Bytes},
	}
	for name, value := range p.Detail {
		switch name {
		case detailTenant, detailKind, detailCallingAE, detailIssuer:
		default:
			if e.Detail == nil {
				e.Detail = map[string]string{}
			}
			e.Detail[name] = value
		}
	}
	return e, nil
}
