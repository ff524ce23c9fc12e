package config

import (
	"reflect"
	"time"
)

// Limits bound what is kept in memory and how long a peer can make us wait, not
// what may be stored: a header that is too large is stored whole and indexed
// from what fits. All are more than zero.
type Limits struct {
	Associations        int64    `yaml:"associations"`          // at once
	AssociationsPerPeer int64    `yaml:"associations_per_peer"` // at once from one address
	FailedConnections   int64    `yaml:"failed_connections"`    // of one address in 10 s; further ones are closed at once
	AssociatePDU        Size     `yaml:"associate_pdu"`
	DataPDU             Size     `yaml:"data_pdu"`   // that we announce
	AcceptPDU           Size     `yaml:"accept_pdu"` // that we take from peers that send more
	CommandSet          Size     `yaml:"command_set"`
	ARTIM               Duration `yaml:"artim"` // to ask for an association, and to close after its end
	Idle                Duration `yaml:"idle"`  // between messages
	Stall               Duration `yaml:"stall"` // below 1 KiB/s inside a message; a write to or a read from an HTTP client

	Object        Size  `yaml:"object"`  // a data set
	Header        Size  `yaml:"header"`  // kept of one data set
	Headers       Size  `yaml:"headers"` // kept together, half of it for one sender: what has no room is not indexed
	SequenceDepth int64 `yaml:"sequence_depth"`
	KeptElements  int64 `yaml:"kept_elements"`
	Elements      int64 `yaml:"elements"`
	InflateRatio  int64 `yaml:"inflate_ratio"`
	InflateHeader Size  `yaml:"inflate_header"` // bytes inflated before the ratio counts

	Matches        int64    `yaml:"matches"` // of a query that names no study
	HTTPHeader     Size     `yaml:"http_header"`
	HTTPReadHeader Duration `yaml:"http_read_header"`
	HTTPIdle       Duration `yaml:"http_idle"`
	STOWParts      int64    `yaml:"stow_parts"`
	STOWPartHeader Size     `yaml:"stow_part_header"`
}

// DefaultLimits are those of a node that was told nothing.
func DefaultLimits() Limits {
	return Limits{
		Associations: 512, AssociationsPerPeer: 64, FailedConnections: 100,
		AssociatePDU: 256 << 10, DataPDU: 128 << 10, AcceptPDU: 1 << 20, CommandSet: 16 << 10,
		ARTIM: Duration(10 * time.Second), Idle: Duration(time.Minute), Stall: Duration(time.Minute),
		Object: 16 << 30, Header: 4 << 20, Headers: 64 << 20,
		SequenceDepth: 16, KeptElements: 100_000, Elements: 10_000_000, InflateRatio: 100, InflateHeader: 64 << 20,
		Matches: 5000, HTTPHeader: 32 << 10, HTTPReadHeader: Duration(5 * time.Second), HTTPIdle: Duration(time.Minute),
		STOWParts: 10_000, STOWPartHeader: 8 << 10,
	}
}

// validateLimits refuses a limit of nothing, which the parts would read as their
// default.
func validateLimits(l Limits, problem func(key, format string, args ...any)) {
	v := reflect.ValueOf(l)
	for i := range v.NumField() {
		if v.Field(i).Int() <= 0 {
			problem("limits."+v.Type().Field(i).Tag.Get("yaml"), "a limit must be more than nothing")
		}
	}
	if l.AcceptPDU < l.DataPDU {
		problem("limits.accept_pdu", "%s is less than data_pdu, which is announced", l.AcceptPDU)
	}
	if l.DataPDU < 4<<10 {
		problem("limits.data_pdu", "%s is less than 4KiB", l.DataPDU)
	}
}
