package dimse

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"lumen/dicom"
	"lumen/dimse/pdu"
)

// AssociateRequest is what a peer says of itself when it asks for an
// association. Titles are as on the wire, without padding: escape them before
// they are logged.
type AssociateRequest struct {
	CallingAE, CalledAE string
	Remote              netip.AddrPort
	Identity            *pdu.UserIdentity // nil when the peer gave none
	Plaintext           bool              // the connection is not encrypted
	Certificate         *x509.Certificate // the peer's, verified in the TLS handshake; nil without

	// ImplementationClassUID and VersionName tell what software the peer is.
	ImplementationClassUID, ImplementationVersionName string

	// IdentityResponse is set by Associate when it has checked Identity: the
	// server response that the peer may have asked for, empty for types 1 and 2
	// (PS3.7 annex D.3.3.7.2). Nil says that identities are not looked at.
	IdentityResponse []byte

	// MaxPDU is set by Associate for a peer that has trouble with longer PDUs:
	// bytes of the longest P-DATA-TF that is announced and sent; 0: as [Limits].
	MaxPDU int
}

// Reject is an error of [Server.Associate] that decides what the peer is told.
type Reject struct {
	pdu.AssociateRJ
	Err error // why, for the log; may be nil

	// Cost is how many failed connections this counts as where the address has
	// many (see [Limits]); 0 means 1. A transient rejection counts as none.
	Cost int
}

func (r *Reject) Error() string {
	text := fmt.Sprintf("association rejected: result %d, source %d, reason %d", r.Result, r.Source, r.Reason)
	if r.Err != nil {
		text += ": " + r.Err.Error()
	}
	return text
}

func (r *Reject) Unwrap() error { return r.Err }

func reject(result pdu.Result, source pdu.Source, reason pdu.Reason, why string) *Reject {
	return &Reject{AssociateRJ: pdu.AssociateRJ{Result: result, Source: source, Reason: reason}, Err: errors.New(why)}
}

// RejectCallingAE refuses a peer whose title, address or identity is not
// accepted.
func RejectCallingAE(err error) *Reject {
	return &Reject{AssociateRJ: pdu.AssociateRJ{Result: pdu.RejectedPermanent, Source: pdu.SourceUser,
		Reason: pdu.ReasonCallingAENotRecognized}, Err: err}
}

// RejectCalledAE refuses a peer that asks for another title than ours.
func RejectCalledAE(err error) *Reject {
	return &Reject{AssociateRJ: pdu.AssociateRJ{Result: pdu.RejectedPermanent, Source: pdu.SourceUser,
		Reason: pdu.ReasonCalledAENotRecognized}, Err: err}
}

var (
	errLimit      = reject(pdu.RejectedTransient, pdu.SourcePresentation, pdu.ReasonLimitExceeded, "too many associations")
	errContexts   = reject(pdu.RejectedPermanent, pdu.SourcePresentation, pdu.ReasonLimitExceeded, "too many presentation contexts or negotiation items")
	errVersion    = reject(pdu.RejectedPermanent, pdu.SourceACSE, pdu.ReasonProtocolVersion, "protocol version not supported")
	errAppContext = reject(pdu.RejectedPermanent, pdu.SourceUser, pdu.ReasonApplicationContext, "application context not supported")
	errTinyPDU    = reject(pdu.RejectedPermanent, pdu.SourceACSE, pdu.ReasonACSENone, "the peer's maximum PDU length has no room for data")
)

// smallestPDU is the shortest maximum length that leaves room for a fragment
// of even length.
const smallestPDU = pdu.PDVHeaderSize + 2

// acceptable checks what does not depend on who asks.
func acceptable(rq *pdu.AssociateRQ) error {
	switch {
	case rq.ProtocolVersion&1 == 0:
		return errVersion
	case rq.ApplicationContext != pdu.ApplicationContext:
		return errAppContext
	case rq.User.MaximumLength != 0 && rq.User.MaximumLength < smallestPDU:
		return errTinyPDU
	}
	return nil
}

// Context is an accepted presentation context.
type Context struct {
	ID             byte
	SOPClass       string
	TransferSyntax dicom.TransferSyntax
	PeerIsSCP      bool // the peer takes the SCP role for the class (it asked for it, and we agreed)
}

// accepted is a context with who serves it.
type accepted struct {
	Context
	service  *Service
	extended []byte
}

// negotiate answers the proposed contexts and user information, and fills in
// the association. Announce is our maximum length.
func (a *Association) negotiate(rq *pdu.AssociateRQ, announce int) *pdu.AssociateAC {
	ac := &pdu.AssociateAC{CalledAE: rq.CalledAE, CallingAE: rq.CallingAE}
	ac.User.MaximumLength = uint32(announce)
	ac.User.ImplementationClassUID = dicom.ImplementationClassUID
	ac.User.ImplementationVersionName = dicom.ImplementationVersionName
	if rq.User.Async != nil {
		ac.User.Async = &pdu.AsyncOperations{Invoked: 1, Performed: 1}
	}
	a.specialize(rq)
	roles := a.roles(rq, ac)
	extended := a.extended(rq, ac)
	for _, c := range rq.Contexts {
		slot := &a.contexts[c.ID>>1]
		if slot.answered {
			continue // the first of two contexts with one id counts
		}
		answer := pdu.ContextAC{ID: c.ID, Result: pdu.ContextNoReason}
		if c.ID&1 == 1 { // PS3.8 section 9.3.2.2: ids are odd
			slot.answered = true
			slot.accepted, answer.Result = a.choose(c)
		}
		if answer.Result == pdu.ContextAccepted {
			slot.PeerIsSCP = roles[c.AbstractSyntax].SCP
			slot.extended = extended[c.AbstractSyntax]
			answer.TransferSyntax = slot.TransferSyntax.UID
		} else if len(c.TransferSyntaxes) > 0 {
			answer.TransferSyntax = c.TransferSyntaxes[0] // without meaning, but some peers parse it
		}
		ac.Contexts = append(ac.Contexts, answer)
	}
	return ac
}

// specialize notes which classes of common extended negotiation are kinds of one
// that is served. The item has no answer but that of its contexts.
func (a *Association) specialize(rq *pdu.AssociateRQ) {
	for _, x := range rq.User.CommonExtended {
		for _, general := range x.Related {
			s := a.server.service(general)
			if s == nil || s.ServiceClass == "" || s.ServiceClass != x.ServiceClass || !dicom.ValidUID(x.SOPClass) {
				continue
			}
			if a.special == nil {
				a.special = make(map[string]*Service)
			}
			a.special[x.SOPClass] = s
			break
		}
	}
}

// service returns who serves a SOP class on this association.
func (a *Association) service(sopClass string) *Service {
	if s := a.server.service(sopClass); s != nil {
		return s
	}
	return a.special[sopClass]
}

// choose decides one proposed context.
func (a *Association) choose(c pdu.ContextRQ) (accepted, pdu.ContextResult) {
	service := a.service(c.AbstractSyntax)
	if service == nil {
		return accepted{}, pdu.ContextAbstractSyntaxRejected
	}
	var uid string
	if service.TransferSyntax != nil {
		uid = service.TransferSyntax(a, c.AbstractSyntax, c.TransferSyntaxes)
	} else {
		uid = ChooseTransferSyntax(c.AbstractSyntax, c.TransferSyntaxes)
	}
	ts, ok := dicom.LookupTransferSyntax(uid)
	if !ok {
		return accepted{}, pdu.ContextTransferSyntaxesRejected
	}
	return accepted{Context: Context{ID: c.ID, SOPClass: c.AbstractSyntax, TransferSyntax: ts}, service: service},
		pdu.ContextAccepted
}

// roles answers role selection: we take the SCU role for a class, which makes
// the peer its SCP, where we have something to send: when some service gets.
func (a *Association) roles(rq *pdu.AssociateRQ, ac *pdu.AssociateAC) map[string]pdu.Role {
	if len(rq.User.Roles) == 0 {
		return nil
	}
	gets := false
	for i := range a.server.Services {
		gets = gets || a.server.Services[i].Get != nil
	}
	roles := make(map[string]pdu.Role)
	for _, r := range rq.User.Roles {
		service := a.service(r.SOPClass)
		if service == nil || roles[r.SOPClass] != (pdu.Role{}) {
			continue
		}
		r.SCP = r.SCP && gets && service.Store != nil
		roles[r.SOPClass] = r
		ac.User.Roles = append(ac.User.Roles, r)
	}
	return roles
}

// extended answers SOP class extended negotiation.
func (a *Association) extended(rq *pdu.AssociateRQ, ac *pdu.AssociateAC) map[string][]byte {
	if len(rq.User.Extended) == 0 {
		return nil
	}
	agreed := make(map[string][]byte)
	for _, x := range rq.User.Extended {
		service := a.service(x.SOPClass)
		if service == nil || service.Extended == nil || agreed[x.SOPClass] != nil {
			continue
		}
		if info := service.Extended(x.SOPClass, x.Info); info != nil {
			agreed[x.SOPClass] = info
			ac.User.Extended = append(ac.User.Extended, pdu.Extended{SOPClass: x.SOPClass, Info: info})
		}
	}
	return agreed
}

// ChooseTransferSyntax is the default rule. A sender that offers several
// syntaxes in one context has to turn its object into the chosen one, so the
// choice decides what it does to its pixels:
//
//   - for visible light and video classes the first encapsulated syntax that
//     is offered, because that is what the device made;
//   - for other classes a lossy syntax only when nothing else is offered, and
//     else the first offered of lossless and uncompressed;
//   - among uncompressed syntaxes Explicit VR Little Endian, then Implicit VR
//     Little Endian, Deflated, Big Endian, whatever their order: it keeps the
//     VRs that the sender knows.
//
// Unknown syntaxes are never chosen; "" means that there is nothing to choose.
func ChooseTransferSyntax(sopClass string, offered []string) string {
	visible := strings.HasPrefix(sopClass, "1.2.840.10008.5.1.4.1.1.77.1.") // VL and video classes (PS3.4 annex B.5)
	var plain, lossless, lossy string
	plainFirst := false
	for _, uid := range offered {
		ts, ok := dicom.LookupTransferSyntax(uid)
		switch {
		case !ok || ts.ImplicitVR && ts.BigEndian:
			continue
		case !ts.Encapsulated:
			plainFirst = plainFirst || lossless == ""
			if plain == "" || plainRank(uid) < plainRank(plain) {
				plain = uid
			}
		case visible:
			return uid
		case ts.Lossy:
			or(&lossy, uid)
		default:
			or(&lossless, uid)
		}
	}
	switch {
	case lossless != "" && !plainFirst:
		return lossless
	case plain != "":
		return plain
	case lossless != "":
		return lossless
	}
	return lossy
}

// plainRank orders the uncompressed syntaxes by preference.
func plainRank(uid string) int {
	for i, u := range [...]string{dicom.ExplicitVRLittleEndian, dicom.ImplicitVRLittleEndian,
		dicom.DeflatedExplicitVRLittleEndian, dicom.ExplicitVRBigEndian} {
		if u == uid {
			return i
		}
	}
	return 4
}
