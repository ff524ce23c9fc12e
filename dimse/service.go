package dimse

import (
	"context"
	"io"
	"iter"

	"lumen/dicom"
)

// Service says who serves a set of SOP classes. A handler that is nil is not
// offered: its requests are refused.
type Service struct {
	SOPClasses []string

	// ServiceClass is the UID of the service class that a peer may name in common
	// extended negotiation (PS3.7 annex D.3.3.6) to have a SOP class served that
	// is not in any list, but a kind of one in SOPClasses: a private one of its
	// own, say. Empty: such classes are refused like all unknown ones.
	ServiceClass string

	// TransferSyntax chooses one of the transfer syntaxes that a peer offers for
	// a SOP class; "" refuses all of them. Nil means [ChooseTransferSyntax].
	TransferSyntax func(a *Association, sopClass string, offered []string) string

	// Extended answers the SOP class extended negotiation of a peer (PS3.7 annex
	// D.3.3.5) with what is supported of it; nil answers nothing. Nil means that
	// the item is not answered, which the standard reads as unsupported.
	Extended func(sopClass string, info []byte) []byte

	Echo  EchoHandler
	Store StoreHandler
	Find  FindHandler
	Move  MoveHandler
	Get   GetHandler
}

// EchoHandler answers one C-ECHO: nil with success, an error as of a
// [StoreHandler].
type EchoHandler func(ctx context.Context, a *Association) error

// Echo is an [EchoHandler] that answers everybody with success.
func Echo(context.Context, *Association) error { return nil }

// StoreHandler keeps one object. Data streams the data set as it arrives, in
// rq.TransferSyntax; it also implements io.WriterTo, which saves a copy. What
// the handler leaves unread is drained. Nil is answered with 0000, a
// *[StatusError] with its status (0000 is not possible that way, a warning is),
// any other error with [StatusInternal]. Rq and data are not to be used after
// the handler has returned.
type StoreHandler func(ctx context.Context, a *Association, rq *StoreRequest, data io.Reader) error

// StoreRequest is a C-STORE request (PS3.7 section 9.1.1). What the peer
// announces is not checked against the data set here.
type StoreRequest struct {
	SOPClassUID    string
	SOPInstanceUID string
	TransferSyntax dicom.TransferSyntax
	Priority       uint16 // 0 medium, 1 high, 2 low
	MoveOriginator MoveOriginator
}

// MoveOriginator names the C-MOVE that caused a C-STORE; zero when none did.
type MoveOriginator struct {
	AE        string
	MessageID uint16
}

// FindHandler answers a query with identifiers, each sent as a pending
// response. An error ends the sequence and decides the final status. Ctx is
// cancelled by C-CANCEL and by the end of the association; the sequence is then
// not pulled further.
type FindHandler func(ctx context.Context, a *Association, rq *FindRequest) iter.Seq2[*dicom.DataSet, error]

// FindRequest is a C-FIND request (PS3.7 section 9.1.2).
type FindRequest struct {
	SOPClassUID string
	Identifier  *dicom.DataSet
	Extended    []byte // what was agreed by extended negotiation for the class; nil when nothing was

	// UnsupportedKeys is set by the handler before it yields: pending responses
	// then say that some optional keys were not matched (FF01).
	UnsupportedKeys bool
}

// MoveHandler sends objects to another AE. It calls progress after each
// sub-operation (as often as it likes: each call is one pending response) and
// returns the final counts. When ctx is cancelled it returns what it had done,
// with Remaining set. A nil error lets the counts decide the final status; a
// *[StatusError] decides itself.
type MoveHandler func(ctx context.Context, a *Association, rq *MoveRequest, progress func(SubOperations) error) (SubOperations, error)

// MoveRequest is a C-MOVE request (PS3.7 section 9.1.4).
type MoveRequest struct {
	SOPClassUID string
	Destination string // AE title
	Identifier  *dicom.DataSet
	MessageID   uint16
	Priority    uint16
	Extended    []byte
}

// GetHandler sends objects back on the association of the request, by store:
// one call is one C-STORE sub-operation. Else it is like a [MoveHandler].
type GetHandler func(ctx context.Context, a *Association, rq *GetRequest, store SubStore, progress func(SubOperations) error) (SubOperations, error)

// GetRequest is a C-GET request (PS3.7 section 9.1.3).
type GetRequest struct {
	SOPClassUID string
	Identifier  *dicom.DataSet
	MessageID   uint16
	Priority    uint16
	Extended    []byte
}

// SubStore performs one C-STORE and returns the peer's status. An error is the end
// of the association, and of the handler's ctx, but for [ErrNoContext] and a
// *[SourceError] that is not Aborted.
type SubStore func(ctx context.Context, rq StoreRequest, data io.Reader) (Status, error)

// SubOperations counts the C-STORE sub-operations of a C-MOVE or C-GET. Counts
// past 65 535 are sent as that.
type SubOperations struct {
	Remaining, Completed, Failed, Warning int
	FailedUIDs                            []string // SOP Instance UIDs
	Comment                               string   // Error Comment of a final response, in the result of a [Client]
}

// service returns the service of a SOP class.
func (s *Server) service(sopClass string) *Service {
	s.once.Do(func() {
		s.classes = make(map[string]*Service)
		for i := range s.Services {
			for _, uid := range s.Services[i].SOPClasses {
				s.classes[uid] = &s.Services[i]
			}
		}
	})
	return s.classes[sopClass]
}
