package media

import (
	"bytes"
	"slices"
	"strconv"
	"strings"

	"lumen/dicom"
	"lumen/dicom/dict"
)

// recordType says what a record of a type holds (PS3.3 F.4, F.5): keys that must
// have a value, keys that must be there, and keys that are copied if they are.
type recordType struct {
	name                 string // Directory Record Type (0004,1430)
	valued, present, any []dicom.Tag
}

var (
	patientRecord = recordType{"PATIENT", tags(dict.PatientID), tags(dict.PatientName),
		tags(dict.IssuerOfPatientID, dict.PatientBirthDate, dict.PatientSex)}
	studyRecord = recordType{"STUDY", tags(dict.StudyDate, dict.StudyTime, dict.StudyInstanceUID, dict.StudyID),
		tags(dict.AccessionNumber, dict.StudyDescription), nil}
	seriesRecord = recordType{"SERIES", tags(dict.Modality, dict.SeriesInstanceUID, dict.SeriesNumber), nil,
		tags(dict.SeriesDescription)}
	imageRecord = recordType{"IMAGE", tags(dict.InstanceNumber), nil, nil}
)

// The keys of types that are dated, and of those that have a label (PS3.3 table
// 10-12, Content Identification Macro).
var (
	dated        = tags(dict.InstanceNumber, dict.ContentDate, dict.ContentTime)
	labelled     = append(tags(dict.ContentLabel), dated...)
	descriptions = tags(dict.ContentDescription, dict.ContentCreatorName)
)

// instanceRecords are the types below a series that are no images. A SOP class
// is of the first whose word its keyword has, at the end where it says so.
var instanceRecords = []struct {
	word string
	recordType
}{
	{"PresentationStateStorage$", recordType{"PRESENTATION",
		tags(dict.InstanceNumber, dict.ContentLabel, dict.PresentationCreationDate, dict.PresentationCreationTime), descriptions,
		tags(dict.ReferencedSeriesSequence, dict.BlendingSequence)}},
	{"SRStorage$", structuredReport},
	{"SRDocumentStorage$", structuredReport},
	{"ProcedureLogStorage$", structuredReport},
	{"ReportStorage$", structuredReport},
	{"WaveformStorage$", recordType{"WAVEFORM", dated, nil, nil}},
	{"KeyObjectSelection", recordType{"KEY OBJECT DOC", append(tags(dict.ConceptNameCodeSequence), dated...), nil, nil}},
	{"Encapsulated", recordType{"ENCAP DOC", tags(dict.InstanceNumber, dict.MIMETypeOfEncapsulatedDocument),
		tags(dict.ContentDate, dict.ContentTime, dict.DocumentTitle, dict.ConceptNameCodeSequence), tags(dict.HL7InstanceIdentifier)}},
	{"RTDoseStorage$", recordType{"RT DOSE", tags(dict.InstanceNumber, dict.DoseSummationType), nil, nil}},
	{"RTStructureSetStorage$", recordType{"RT STRUCTURE SET", tags(dict.InstanceNumber, dict.StructureSetLabel),
		tags(dict.StructureSetDate, dict.StructureSetTime), nil}},
	{"RTPlanStorage$", radiationPlan},
	{"RTIonPlanStorage$", radiationPlan},
	{"TreatmentRecordStorage$", recordType{"RT TREAT RECORD", tags(dict.InstanceNumber), tags(dict.TreatmentDate, dict.TreatmentTime), nil}},
	{"TreatmentSummaryRecordStorage$", recordType{"RT TREAT RECORD", tags(dict.InstanceNumber), tags(dict.TreatmentDate, dict.TreatmentTime), nil}},
	{"Spectroscopy", recordType{"SPECTROSCOPY", append(tags(dict.ImageType, dict.NumberOfFrames, dict.Rows, dict.Columns,
		dict.DataPointRows, dict.DataPointColumns), dated...), nil, tags(dict.ReferencedImageEvidenceSequence)}},
	{"RawDataStorage$", recordType{"RAW DATA", dated, nil, nil}},
	{"SpatialRegistrationStorage$", recordType{"REGISTRATION", labelled, descriptions, nil}},
	{"SpatialFiducialsStorage$", recordType{"FIDUCIAL", labelled, descriptions, nil}},
	{"RealWorldValueMapping", recordType{"VALUE MAP", labelled, descriptions, nil}},
	{"SurfaceSegmentation", recordType{"SURFACE", labelled, descriptions, nil}},
	{"SurfaceScan", recordType{"SURFACE SCAN", tags(dict.ContentDate, dict.ContentTime), nil, nil}},
	{"Tractography", recordType{"TRACT", labelled, descriptions, nil}},
	{"MeasurementsStorage$", recordType{"MEASUREMENT", dated, nil, nil}},
	{"StereometricRelationship", recordType{"STEREOMETRIC", tags(dict.InstanceNumber, dict.ContentLabel), descriptions, nil}},
	{"ContentAssessment", recordType{"ASSESSMENT", dated, nil, nil}},
	{"RTRadiation", radiotherapy},
	{"RTPhysicianIntent", radiotherapy},
	{"RTSegmentAnnotation", radiotherapy},
	{"RTTreatmentPreparation", radiotherapy},
	{"RadiationStorage$", radiotherapy},
	{"RadiationRecordStorage$", radiotherapy},
	{"BulkSimpleAnnotations", recordType{"ANNOTATION", labelled, descriptions, nil}},
}

var (
	structuredReport = recordType{"SR DOCUMENT", append(tags(dict.CompletionFlag, dict.VerificationFlag, dict.ConceptNameCodeSequence), dated...), nil, nil}
	radiotherapy     = recordType{"RADIOTHERAPY", tags(dict.InstanceNumber), nil, nil}
	radiationPlan    = recordType{"RT PLAN", tags(dict.InstanceNumber, dict.RTPlanLabel), tags(dict.RTPlanDate, dict.RTPlanTime), nil}
)

func tags(t ...dicom.Tag) []dicom.Tag { return t }

// recordTypeOf is the type for a SOP class (PS3.3 table F.4-1). What is not
// named otherwise, or not known, is an IMAGE.
func recordTypeOf(sopClass string) recordType {
	uid, _ := dict.LookupUID(sopClass)
	for _, r := range instanceRecords {
		word, last := strings.CutSuffix(r.word, "$")
		if last && strings.HasSuffix(uid.Keyword, word) || !last && strings.Contains(uid.Keyword, word) {
			return r.recordType
		}
	}
	return imageRecord
}

// encode makes a record, in explicit VR little endian, with attributes of
// header. Number is its place among its siblings; more adds to it.
func (t recordType) encode(header *dicom.DataSet, number int, more func(*dicom.DataSet)) ([]byte, error) {
	d := &dicom.DataSet{}
	d.SetInt(dict.OffsetOfTheNextDirectoryRecord, 0)
	d.SetInt(dict.RecordInUseFlag, 0xffff)
	d.SetInt(dict.OffsetOfReferencedLowerLevelDirectoryEntity, 0)
	d.SetString(dict.DirectoryRecordType, t.name)
	if e, ok := header.Get(dict.SpecificCharacterSet); ok && len(e.Value) > 0 {
		d.Set(e)
	}
	for _, tag := range slices.Concat(t.valued, t.present, t.any) {
		if e, ok := header.Get(tag); ok && (len(e.Value) > 0 || len(e.Items) > 0) {
			d.Set(typed(e))
		}
	}
	for _, tag := range t.present {
		if !d.Has(tag) {
			set(d, tag, "")
		}
	}
	for _, tag := range t.valued {
		if !d.Has(tag) {
			set(d, tag, neutral(tag, header, number))
		}
	}
	if more != nil {
		more(d)
	}
	return d.Encode(explicit())
}

// set sets a value; a sequence has none.
func set(d *dicom.DataSet, tag dicom.Tag, value string) {
	if vr, _ := dict.VRs(tag); vr == dict.SQ {
		d.SetItems(tag)
	} else {
		d.SetString(tag, strings.Split(value, `\`)...)
	}
}

// typed gives an element its VR where the file had none, and dates and times
// the form that they have since 1993 (PS3.5 table 6.2-1).
func typed(e dicom.Element) dicom.Element {
	vr, _ := dict.VRs(e.Tag)
	if vr != 0 && vr != dict.SQ && e.VR == dict.UN {
		e.VR = vr
	}
	old := byte('.')
	if vr == dict.TM {
		old = ':'
	}
	if (vr == dict.DA || vr == dict.TM) && bytes.IndexByte(e.Value, old) > 0 {
		e.Value = bytes.TrimRight(bytes.ReplaceAll(e.Value, []byte{old}, nil), " \x00")
		if len(e.Value)%2 == 1 {
			e.Value = append(e.Value, ' ')
		}
	}
	return e
}

// studyDates are where a study without a date may have been dated otherwise.
var studyDates = tags(dict.StudyDate, dict.SeriesDate, dict.AcquisitionDate, dict.ContentDate, dict.InstanceCreationDate)

// neutral is the value of a key that must have one and has none in the file.
func neutral(tag dicom.Tag, header *dicom.DataSet, number int) string {
	switch vr, _ := dict.VRs(tag); {
	case tag == dict.PatientID:
		return "UNKNOWN" + strconv.Itoa(number)
	case tag == dict.Modality:
		return "OT"
	case tag == dict.ImageType:
		return `DERIVED\SECONDARY`
	case tag == dict.CompletionFlag:
		return "PARTIAL"
	case tag == dict.VerificationFlag:
		return "UNVERIFIED"
	case tag == dict.MIMETypeOfEncapsulatedDocument:
		return "application/octet-stream"
	case tag == dict.StudyID, vr == dict.IS:
		return strconv.Itoa(number)
	case vr == dict.DA:
		for _, other := range studyDates {
			if date := header.String(other); len(date) == 8 {
				return date
			}
		}
		return "19000101"
	case vr == dict.TM:
		return "000000"
	case vr == dict.CS, vr == dict.SH, vr == dict.LO:
		return "UNKNOWN"
	}
	return "" // a count, of which no value would be true
}

func explicit() dicom.TransferSyntax {
	ts, _ := dicom.LookupTransferSyntax(dicom.ExplicitVRLittleEndian)
	return ts
}
