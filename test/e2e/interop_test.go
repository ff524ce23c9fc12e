package e2e_test

import (
	"testing"

	"lumen/internal/peertest"
)

// matrix is what the programs of other makers and we do with each other. A row
// is an operation; its cells say how each peer asks it of the built node, and
// how we ask it of the peer. A cell that a peer cannot fill says why, and checks
// that it is so. Of one cell the test is elsewhere: DCMTK sends us the collection in
// TestCollectionGoesInAndComesOut.
var matrix = []struct {
	operation      string
	dcmtk, orthanc column
}{
	{"echo", column{dcmtkEchoes, weEchoDCMTK}, column{orthancEchoes, weEchoOrthanc}},
	{"store", column{dcmtkStores, weStoreAtDCMTK}, column{orthancStores, weStoreAtOrthanc}},
	{"find", column{dcmtkFinds, weFindAtDCMTK}, column{orthancFinds, weFindAtOrthanc}},
	{"move", column{dcmtkMoves, weMoveAtDCMTK}, column{orthancMoves, weMoveAtOrthanc}},
	{"get", column{dcmtkGets, weGetAtDCMTK}, column{orthancDoesNotGet, weGetAtOrthanc}},
	{"cancel", column{dcmtkCancels, weCancelAtDCMTK}, column{orthancDoesNotCancel, weCancelAtOrthanc}},
	{"abort", column{dcmtkAborts, weAbortAtDCMTK}, column{orthancAborts, weAbortAtOrthanc}},
	{"maximum_PDU", column{dcmtkHasAMaximumPDU, weKeepToDCMTKsMaximumPDU}, column{orthancHasAMaximumPDU, weKeepToOrthancsMaximumPDU}},
	{"TLS", column{dcmtkOverTLS, weCallDCMTKOverTLS}, column{orthancOverTLS, weCallOrthancOverTLS}},
	{"user_identity", column{dcmtkIdentifies, weIdentifyAtDCMTK}, column{orthancDoesNotIdentify, weIdentifyAtOrthanc}},
	{"collection", column{nil, weSendTheCollectionToDCMTK}, column{orthancSendsTheCollection, weSendTheCollectionToOrthanc}},
}

// column is one peer's cells of a row.
type column struct{ callsUs, weCall func(*testing.T, *scene) }

// TestInterop runs the matrix. Its subtests are named
// PEER/DIRECTION/OPERATION, and below that by syntax, model or whatever else is
// varied: TestInterop/DCMTK/calls_us/store/JPEG_2000.
func TestInterop(t *testing.T) {
	peertest.Needs(t, "storescu", "storescp", "findscu", "movescu", "getscu", "echoscu", "dcmqrscp", "dcmconv", "dcmdump", orthancProgram, python)
	for _, peer := range []string{"DCMTK", "Orthanc"} {
		t.Run(peer, func(t *testing.T) {
			t.Parallel()
			s := newScene(t, peer)
			for _, direction := range []string{"calls_us", "we_call"} {
				t.Run(direction, func(t *testing.T) {
					for _, row := range matrix {
						c := row.dcmtk
						if peer == "Orthanc" {
							c = row.orthanc
						}
						cell := c.callsUs
						if direction == "we_call" {
							cell = c.weCall
						}
						if cell != nil {
							t.Run(row.operation, func(t *testing.T) { cell(t, s) })
						}
					}
				})
			}
		})
	}
}
