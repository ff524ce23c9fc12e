package store

import (
	"strings"

	"lumen/store/seal"
)

// Objects of an instance lie under <tenant>/<study handle>/: the blob under its
// id, the fact that it is quarantined under the id with a suffix.
const quarantineSuffix = "-quarantine"

// objectKind says what an object under a study is, by its name alone.
type objectKind int

const (
	objectOther objectKind = iota // a key, or what another part of Lumen keeps there
	objectInstance
	objectQuarantine
)

// parseName takes apart the name of an object.
func (a *Archive) parseName(name string) (BlobRef, objectKind) {
	kind := objectInstance
	name, marked := strings.CutSuffix(name, quarantineSuffix)
	if marked {
		kind = objectQuarantine
	}
	tenant, study, id, ok := seal.ParseObjectName(name)
	if !ok || tenant != a.keys.Tenant() {
		return BlobRef{}, objectOther
	}
	return BlobRef{Study: study, ID: id}, kind
}

// studyOf tells the study that an object of any kind belongs to, and whether it
// is the study's wrapped key.
func (a *Archive) studyOf(name string) (study seal.Handle, key, ok bool) {
	tail, ok := strings.CutPrefix(name, a.prefix())
	if !ok {
		return seal.Handle{}, false, false
	}
	handle, _, ok := strings.Cut(tail, "/")
	if study, err := seal.ParseHandle(handle); ok && err == nil {
		return study, name == seal.StudyKeyName(a.keys.Tenant(), study), true
	}
	return seal.Handle{}, false, false
}

// quarantineName is the name of the fact that a blob is quarantined.
func (a *Archive) quarantineName(ref BlobRef) string { return a.name(ref) + quarantineSuffix }

// prefix is that of all objects of the tenant.
func (a *Archive) prefix() string { return seal.TenantPrefix(a.keys.Tenant()) }
