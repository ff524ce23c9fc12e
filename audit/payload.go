package audit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
)

// Payload is the part of a record that is sealed: who, from where, and about
// whom, in clear. Its encoding is JSON; fields that are empty are left out.
type Payload struct {
	Actor        string            `json:"actor,omitempty"`         // AE title, user, or part of the node
	Peer         string            `json:"peer,omitempty"`          // network address of the actor
	PatientID    string            `json:"patient_id,omitempty"`    // Patient ID (0010,0020)
	PatientName  string            `json:"patient_name,omitempty"`  // Patient's Name (0010,0010)
	StudyUID     string            `json:"study_uid,omitempty"`     // Study Instance UID (0020,000D)
	InstanceUIDs []string          `json:"instance_uids,omitempty"` // SOP Instance UIDs (0008,0018)
	Protocol     string            `json:"protocol,omitempty"`      // C-STORE, WADO-RS ...
	Destination  string            `json:"destination,omitempty"`   // where data went to, when not to the peer
	Detail       map[string]string `json:"detail,omitempty"`        // anything else: a query's keys, a reason
}

// Encode is what goes into [Record].Payload.
func (p Payload) Encode() []byte {
	b, err := json.Marshal(p)
	if err != nil {
		panic("audit: a payload of strings cannot be encoded: " + err.Error())
	}
	return b
}

// ParsePayload decodes an opened payload. Fields that it does not know are an
// error: a payload that says more than is shown would mislead its reader.
func ParsePayload(b []byte) (Payload, error) {
	var p Payload
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&p); err != nil {
		return Payload{}, fmt.Errorf("payload is not the JSON that the journal writes")
	}
	return p, nil
}

// LogValue keeps patient data out of logs.
func (p Payload) LogValue() slog.Value { return slog.StringValue("[sealed]") }
