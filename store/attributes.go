package store

import (
	"slices"
	"sync"

	"lumen/dicom/dict"
)

// Level is a level of the Study Root information model (PS3.4 C.6.2).
type Level int

// The levels, from the top.
const (
	StudyLevel Level = iota
	SeriesLevel
	InstanceLevel
)

// String returns the level as Query/Retrieve Level (0008,0052) names it.
func (l Level) String() string {
	switch l {
	case StudyLevel:
		return "STUDY"
	case SeriesLevel:
		return "SERIES"
	}
	return "IMAGE"
}

// IndexVersion is the derivation version that an index file must carry: it
// changes when the attributes of a [Record], or what the index makes of them,
// change. An index of another version is made anew.
const IndexVersion = 1

// patientAttributes describe the patient, whatever the study: the Patient
// module (PS3.3 C.7.1.1) as far as PS3.4 table C.6-1 lets one ask for it. In
// the Study Root model they belong to the study level.
var patientAttributes = []dict.Tag{
	dict.PatientName,
	dict.PatientID,
	dict.IssuerOfPatientID,
	dict.TypeOfPatientID,
	dict.IssuerOfPatientIDQualifiersSequence,
	dict.PatientBirthDate,
	dict.PatientBirthTime,
	dict.PatientSex,
	dict.OtherPatientIDs,
	dict.OtherPatientNames,
	dict.OtherPatientIDsSequence,
	dict.EthnicGroup,
	dict.PatientSpeciesDescription,
	dict.PatientBreedDescription,
	dict.ResponsiblePerson,
	dict.PatientComments,
}

// studyAttributes are those of PS3.4 table C.6-2 and of PS3.18 table 10.6.3-3
// that instances hold.
var studyAttributes = []dict.Tag{
	dict.StudyDate,
	dict.StudyTime,
	dict.AccessionNumber,
	dict.IssuerOfAccessionNumberSequence,
	dict.ReferringPhysicianName,
	dict.ConsultingPhysicianName,
	dict.TimezoneOffsetFromUTC,
	dict.StudyDescription,
	dict.ProcedureCodeSequence,
	dict.PhysiciansOfRecord,
	dict.NameOfPhysiciansReadingStudy,
	dict.AdmittingDiagnosesDescription,
	dict.PatientAge,
	dict.PatientSize,
	dict.PatientWeight,
	dict.Occupation,
	dict.AdditionalPatientHistory,
	dict.StudyInstanceUID,
	dict.StudyID,
	dict.OtherStudyNumbers,
	dict.AdmissionID,
	dict.ReasonForPerformedProcedureCodeSequence,
}

// seriesAttributes are those of PS3.4 table C.6-3 and of PS3.18 table 10.6.3-4,
// and what a study browser shows of a series.
var seriesAttributes = []dict.Tag{
	dict.SeriesDate,
	dict.SeriesTime,
	dict.Modality,
	dict.Manufacturer,
	dict.InstitutionName,
	dict.StationName,
	dict.SeriesDescription,
	dict.SeriesDescriptionCodeSequence,
	dict.InstitutionalDepartmentName,
	dict.PerformingPhysicianName,
	dict.OperatorsName,
	dict.ManufacturerModelName,
	dict.BodyPartExamined,
	dict.DeviceSerialNumber,
	dict.SoftwareVersions,
	dict.ProtocolName,
	dict.PatientPosition,
	dict.SeriesInstanceUID,
	dict.SeriesNumber,
	dict.Laterality,
	dict.FrameOfReferenceUID,
	dict.PerformedProcedureStepStartDate,
	dict.PerformedProcedureStepStartTime,
	dict.PerformedProcedureStepID,
	dict.PerformedProcedureStepDescription,
	dict.RequestAttributesSequence,
}

// instanceAttributes are those of PS3.4 table C.6-4 and of PS3.18 table
// 10.6.3-5, and what tells one image, video or document from the next.
var instanceAttributes = []dict.Tag{
	dict.ImageType,
	dict.InstanceCreationDate,
	dict.InstanceCreationTime,
	dict.SOPClassUID,
	dict.SOPInstanceUID,
	dict.AcquisitionDate,
	dict.ContentDate,
	dict.AcquisitionDateTime,
	dict.AcquisitionTime,
	dict.ContentTime,
	dict.DerivationDescription,
	dict.FrameTime,
	dict.RecommendedDisplayFrameRate,
	dict.AcquisitionNumber,
	dict.InstanceNumber,
	dict.PatientOrientation,
	dict.ImageLaterality,
	dict.ImageComments,
	dict.SamplesPerPixel,
	dict.PhotometricInterpretation,
	dict.NumberOfFrames,
	dict.Rows,
	dict.Columns,
	dict.BitsAllocated,
	dict.BitsStored,
	dict.LossyImageCompression,
	dict.ObservationDateTime,
	dict.ConceptNameCodeSequence,
	dict.CompletionFlag,
	dict.VerificationFlag,
	dict.DocumentTitle,
	dict.MIMETypeOfEncapsulatedDocument,
	dict.ContentLabel,
	dict.ContentDescription,
	dict.PresentationCreationDate,
	dict.PresentationCreationTime,
	dict.ContentCreatorName,
}

// computedAttributes are in no instance: the index counts them.
var computedAttributes = map[dict.Tag]Level{
	dict.ModalitiesInStudy:              StudyLevel,
	dict.SOPClassesInStudy:              StudyLevel,
	dict.NumberOfStudyRelatedSeries:     StudyLevel,
	dict.NumberOfStudyRelatedInstances:  StudyLevel,
	dict.NumberOfSeriesRelatedInstances: SeriesLevel,
	dict.AvailableTransferSyntaxUID:     InstanceLevel,
}

// defaultReturn are the attributes that a QIDO-RS search returns unasked, by
// level (PS3.18 tables 10.6.3-3, -4 and -5). Retrieve URL is the protocol's.
var defaultReturn = [...][]dict.Tag{
	StudyLevel: {
		dict.StudyDate, dict.StudyTime, dict.AccessionNumber, dict.InstanceAvailability,
		dict.ModalitiesInStudy, dict.ReferringPhysicianName, dict.TimezoneOffsetFromUTC,
		dict.StudyDescription, dict.PatientName, dict.PatientID, dict.IssuerOfPatientID,
		dict.PatientBirthDate, dict.PatientSex, dict.StudyInstanceUID, dict.StudyID,
		dict.NumberOfStudyRelatedSeries, dict.NumberOfStudyRelatedInstances,
	},
	SeriesLevel: {
		dict.InstanceAvailability, dict.Modality, dict.TimezoneOffsetFromUTC, dict.SeriesDescription,
		dict.SeriesInstanceUID, dict.SeriesNumber, dict.NumberOfSeriesRelatedInstances,
		dict.PerformedProcedureStepStartDate, dict.PerformedProcedureStepStartTime,
		dict.RequestAttributesSequence,
	},
	InstanceLevel: {
		dict.SOPClassUID, dict.SOPInstanceUID, dict.InstanceAvailability, dict.TimezoneOffsetFromUTC,
		dict.InstanceNumber, dict.Rows, dict.Columns, dict.BitsAllocated, dict.NumberOfFrames,
		dict.AvailableTransferSyntaxUID,
	},
}

// uniqueKeys identify one thing of each level (PS3.4 C.6.2.1).
var uniqueKeys = [...]dict.Tag{
	StudyLevel:    dict.StudyInstanceUID,
	SeriesLevel:   dict.SeriesInstanceUID,
	InstanceLevel: dict.SOPInstanceUID,
}

// PatientAttributes lists the index attributes that describe the patient; they
// are of the study level too.
func PatientAttributes() []dict.Tag { return slices.Clone(patientAttributes) }

// DefaultReturn lists what a search of a level returns unasked (PS3.18 tables
// 10.6.3-3 to 10.6.3-5), without the levels above and without the attributes
// that a protocol adds, such as Retrieve URL.
func DefaultReturn(level Level) []dict.Tag { return slices.Clone(defaultReturn[level]) }

// IndexAttributes lists, in ascending order, every attribute that a
// [Record] holds when the instance does: those of all levels. Specific
// Character Set (0008,0005) comes with them.
func IndexAttributes() []dict.Tag { return slices.Clone(attributeTable().sorted) }

// AttributeLevel returns the level that an attribute belongs to, false when
// the index does not keep or compute it. A search matches the keys of its own
// level and of those above, from the record of that level.
func AttributeLevel(tag dict.Tag) (Level, bool) {
	l, ok := attributeTable().levels[tag]
	return l, ok
}

type attributes struct {
	levels map[dict.Tag]Level
	sorted []dict.Tag // without the computed ones
}

var attributeTable = sync.OnceValue(func() *attributes {
	a := &attributes{levels: make(map[dict.Tag]Level), sorted: []dict.Tag{dict.SpecificCharacterSet}}
	add := func(level Level, tags []dict.Tag) {
		for _, t := range tags {
			a.levels[t] = level
		}
		a.sorted = append(a.sorted, tags...)
	}
	add(StudyLevel, patientAttributes)
	add(StudyLevel, studyAttributes)
	add(SeriesLevel, seriesAttributes)
	add(InstanceLevel, instanceAttributes)
	slices.Sort(a.sorted)
	for t, level := range computedAttributes {
		a.levels[t] = level
	}
	return a
})
