// Package dimse speaks DICOM messages over associations: the upper layer of
// PS3.8 and the message services of PS3.7, as acceptor ([Server]) and as
// requestor ([Dialer], [Client]). It knows no archive: what a message means is
// the business of the handlers in [Service].
//
// # Serving
//
// A [Server] accepts connections, one goroutine per association. An object
// that arrives is handed to its [StoreHandler] as a stream: memory does not
// depend on its size. Whatever a handler leaves unread is drained before the
// response. A response leaves in one write, on a connection without Nagle's
// delay and with quick acknowledgements, so that a peer which does delay never
// waits for us.
//
// While a query or a retrieval runs, a second goroutine reads, so that
// C-CANCEL, A-ABORT and a lost connection reach the handler through its
// context: context.Cause is [ErrCancelled] or what ended the association.
//
// A handler that returns an error without a [StatusError] is answered with a
// status of the Cxxx range, never with success. A handler that panics costs
// its own association and no other.
//
// # Limits
//
// [Limits] bound connections, PDUs, command sets, identifiers and objects, and
// the time that a peer may keep us waiting: in negotiation (ARTIM), between
// messages (idle), and inside one (lack of progress, not total time, so that a
// large video over a slow link goes through).
//
// # Standard
//
// PS3.8 section 9 and annexes D and E; PS3.7 sections 9.1 (C-ECHO, C-STORE,
// C-FIND, C-GET, C-MOVE, C-CANCEL), C, D and E. Asynchronous operations are
// answered 1/1.
package dimse
