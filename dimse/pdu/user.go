package pdu

import (
	"encoding/binary"
	"fmt"
)

// Sub-item types of the user information item (PS3.7 annex D.3.3, PS3.8 annex
// D.1).
const (
	itemMaximumLength         = 0x51
	itemImplementationUID     = 0x52
	itemAsyncOperations       = 0x53
	itemRoleSelection         = 0x54
	itemImplementationVersion = 0x55
	itemExtended              = 0x56
	itemCommonExtended        = 0x57
	itemUserIdentityRQ        = 0x58
	itemUserIdentityAC        = 0x59
)

// UserInformation is what the two sides tell each other besides the
// presentation contexts. Absent parts are zero.
type UserInformation struct {
	// MaximumLength is the longest P-DATA-TF body that the sender of this item
	// wants to receive; 0 means any length (PS3.8 annex D.1).
	MaximumLength             uint32
	ImplementationClassUID    string
	ImplementationVersionName string
	Async                     *AsyncOperations
	Roles                     []Role
	Extended                  []Extended
	CommonExtended            []CommonExtended
	Identity                  *UserIdentity // in a request
	IdentityResponse          []byte        // in an answer; nil when there is none
}

// AsyncOperations is the asynchronous operations window (PS3.7 annex D.3.3.3);
// 0 means unlimited.
type AsyncOperations struct{ Invoked, Performed uint16 }

// Role says which roles the association requestor takes for a SOP class (PS3.7
// annex D.3.3.4).
type Role struct {
	SOPClass string
	SCU, SCP bool
}

// Extended is the application information of a SOP class (PS3.7 annex
// D.3.3.5); the class defines its bytes.
type Extended struct {
	SOPClass string
	Info     []byte
}

// CommonExtended names the service class of a SOP class and the general
// classes it is a kind of (PS3.7 annex D.3.3.6).
type CommonExtended struct {
	SOPClass     string
	ServiceClass string
	Related      []string
}

// UserIdentity says who the requestor is (PS3.7 annex D.3.3.7). It holds
// secrets: never log it.
type UserIdentity struct {
	Type              IdentityType
	ResponseRequested bool
	Primary           []byte // user name, ticket, assertion or token
	Secondary         []byte // passcode of type 2
}

// IdentityType is the form of a user identity.
type IdentityType byte

// The forms of PS3.7 table D.3-14.
const (
	IdentityUser     IdentityType = 1
	IdentityPasscode IdentityType = 2
	IdentityKerberos IdentityType = 3
	IdentitySAML     IdentityType = 4
	IdentityJWT      IdentityType = 5
)

func (u *UserInformation) parse(b []byte) error {
	count := 0
	return items(b, func(kind, _ byte, v []byte) error {
		f := fields{b: v}
		switch kind {
		case itemMaximumLength:
			u.MaximumLength = f.uint32()
		case itemImplementationUID:
			u.ImplementationClassUID = trim(v)
		case itemImplementationVersion:
			u.ImplementationVersionName = trim(v)
		case itemAsyncOperations:
			u.Async = &AsyncOperations{f.uint16(), f.uint16()}
		case itemRoleSelection:
			u.Roles = append(u.Roles, Role{SOPClass: trim(f.short()), SCU: f.byte() == 1, SCP: f.byte() == 1})
			count++
		case itemExtended:
			u.Extended = append(u.Extended, Extended{SOPClass: trim(f.short()), Info: f.rest()})
			count++
		case itemCommonExtended:
			u.CommonExtended = append(u.CommonExtended, f.commonExtended())
			count++
		case itemUserIdentityRQ:
			u.Identity = &UserIdentity{Type: IdentityType(f.byte()), ResponseRequested: f.byte() == 1,
				Primary: clone(f.short()), Secondary: clone(f.short())}
		case itemUserIdentityAC:
			u.IdentityResponse = clone(f.short())
		}
		if f.cut {
			return malformed("a user information sub-item is shorter than its fields")
		}
		if count > maxNegotiationItems {
			return fmt.Errorf("%w: more than %d role and extended negotiation items", ErrLimit, maxNegotiationItems)
		}
		return nil
	})
}

// fields takes fields off the front of a sub-item. Once one is missing, cut is
// set and all that follow are empty.
type fields struct {
	b   []byte
	cut bool
}

func (f *fields) take(n int) []byte {
	if n > len(f.b) {
		f.cut, f.b = true, nil
		return nil
	}
	v := f.b[:n]
	f.b = f.b[n:]
	return v
}

func (f *fields) byte() byte {
	if v := f.take(1); v != nil {
		return v[0]
	}
	return 0
}

func (f *fields) uint16() uint16 {
	if v := f.take(2); v != nil {
		return binary.BigEndian.Uint16(v)
	}
	return 0
}

func (f *fields) uint32() uint32 {
	if v := f.take(4); v != nil {
		return binary.BigEndian.Uint32(v)
	}
	return 0
}

// short takes a field that has its length in two bytes before it.
func (f *fields) short() []byte { return f.take(int(f.uint16())) }

func (f *fields) rest() []byte { return clone(f.take(len(f.b))) }

func (f *fields) commonExtended() CommonExtended {
	c := CommonExtended{SOPClass: trim(f.short()), ServiceClass: trim(f.short())}
	related := fields{b: f.short()}
	for len(related.b) > 0 && len(c.Related) < maxRelated {
		c.Related = append(c.Related, trim(related.short()))
	}
	f.cut = f.cut || related.cut
	return c
}

// clone copies b into a slice that is never nil, so that an empty field can be
// told from an absent one.
func clone(b []byte) []byte { return append(make([]byte, 0, len(b)), b...) }

func (u *UserInformation) append(b []byte) []byte {
	start := len(b)
	b = append(b, itemUserInformation, 0, 0, 0)
	b = append(b, itemMaximumLength, 0, 0, 4)
	b = binary.BigEndian.AppendUint32(b, u.MaximumLength)
	if u.ImplementationClassUID != "" {
		b = appendItem(b, itemImplementationUID, u.ImplementationClassUID)
	}
	if u.Async != nil {
		b = append(b, itemAsyncOperations, 0, 0, 4)
		b = binary.BigEndian.AppendUint16(b, u.Async.Invoked)
		b = binary.BigEndian.AppendUint16(b, u.Async.Performed)
	}
	for _, r := range u.Roles {
		at := len(b)
		b = appendShort(append(b, itemRoleSelection, 0, 0, 0), r.SOPClass)
		b = endItem(append(b, flag(r.SCU), flag(r.SCP)), at)
	}
	if u.ImplementationVersionName != "" {
		b = appendItem(b, itemImplementationVersion, u.ImplementationVersionName)
	}
	for _, x := range u.Extended {
		at := len(b)
		b = appendShort(append(b, itemExtended, 0, 0, 0), x.SOPClass)
		b = endItem(append(b, x.Info...), at)
	}
	for _, x := range u.CommonExtended {
		at := len(b)
		b = appendShort(append(b, itemCommonExtended, 0, 0, 0), x.SOPClass)
		b = appendShort(b, x.ServiceClass)
		list := len(b)
		b = append(b, 0, 0)
		for _, uid := range x.Related {
			b = appendShort(b, uid)
		}
		binary.BigEndian.PutUint16(b[list:], uint16(len(b)-list-2))
		b = endItem(b, at)
	}
	if id := u.Identity; id != nil {
		at := len(b)
		b = append(b, itemUserIdentityRQ, 0, 0, 0, byte(id.Type), flag(id.ResponseRequested))
		b = appendShort(b, string(id.Primary))
		b = endItem(appendShort(b, string(id.Secondary)), at)
	}
	if u.IdentityResponse != nil {
		at := len(b)
		b = endItem(appendShort(append(b, itemUserIdentityAC, 0, 0, 0), string(u.IdentityResponse)), at)
	}
	return endItem(b, start)
}

func appendShort(b []byte, v string) []byte {
	return append(append(b, byte(len(v)>>8), byte(len(v))), v...)
}

func flag(on bool) byte {
	if on {
		return 1
	}
	return 0
}
