package dict_test

import (
	"slices"
	"testing"

	"lumen/dicom/dict"
)

func TestLookupTag(t *testing.T) {
	for _, c := range []struct {
		tag     dict.Tag
		keyword string
		vr, or  dict.VR
		vm      string
	}{
		{dict.PatientName, "PatientName", dict.PN, 0, "1"},
		{dict.PixelData, "PixelData", dict.OW, dict.OB, "1"},
		{dict.SmallestImagePixelValue, "SmallestImagePixelValue", dict.US, dict.SS, "1"},
		{dict.NewTag(0x6000, 0x3000), "OverlayData", dict.OW, dict.OB, "1"},
		{dict.NewTag(0x601E, 0x3000), "OverlayData", dict.OW, dict.OB, "1"},
		{dict.NewTag(0x0020, 0x3142), "SourceImageIDs", dict.CS, 0, "1-n"},
		{dict.NewTag(0x0008, 0x0000), "GroupLength", dict.UL, 0, "1"},
		{dict.NewTag(0x0009, 0x0010), "PrivateCreator", dict.LO, 0, "1"},
		{dict.Item, "Item", 0, 0, "1"},
	} {
		a, ok := dict.LookupTag(c.tag)
		if !ok || a.Tag != c.tag || a.Keyword != c.keyword || a.VR != c.vr || a.Or != c.or || a.VM != c.vm {
			t.Errorf("%v: %v, %v", c.tag, a, ok)
		}
		if vr, or := dict.VRs(c.tag); vr != c.vr || or != c.or {
			t.Errorf("%v: VRs = %v, %v", c.tag, vr, or)
		}
	}
	for _, tag := range []dict.Tag{dict.NewTag(0x0009, 0x1001), dict.NewTag(0x6001, 0x3000), 0xFFFFFFFE} {
		if a, ok := dict.LookupTag(tag); ok {
			t.Errorf("%v: %v", tag, a)
		}
	}
}

func TestLookupKeyword(t *testing.T) {
	if tag, ok := dict.LookupKeyword("StudyInstanceUID"); !ok || tag != 0x0020000D {
		t.Errorf("%v, %v", tag, ok)
	}
	if _, ok := dict.LookupKeyword("studyinstanceuid"); ok {
		t.Error("found with the wrong case")
	}
}

func TestLookupUID(t *testing.T) {
	for _, c := range []struct {
		uid, name string
		kind      dict.UIDType
	}{
		{dict.UIDCTImageStorage, "CT Image Storage", dict.TypeStorageSOPClass},
		{dict.UIDVideoEndoscopicImageStorage, "Video Endoscopic Image Storage", dict.TypeStorageSOPClass},
		{"1.2.840.10008.1.2.4.203", "High-Throughput JPEG 2000", dict.TypeTransferSyntax},
		{dict.UIDStudyRootQueryRetrieveInformationModelFind, "Study Root Query/Retrieve Information Model - FIND", dict.TypeSOPClass},
		{dict.UIDVerification, "Verification SOP Class", dict.TypeSOPClass},
		{dict.UIDStorageCommitmentPushModelInstance, "Storage Commitment Push Model SOP Instance", dict.TypeSOPInstance},
	} {
		if u, ok := dict.LookupUID(c.uid); !ok || u.Name != c.name || u.Type != c.kind {
			t.Errorf("%s: %v, %v", c.uid, u, ok)
		}
	}
	if u, ok := dict.LookupUID("1.2.3"); ok {
		t.Errorf("1.2.3: %v", u)
	}
}

func TestStorageSOPClasses(t *testing.T) {
	list := dict.StorageSOPClasses()
	for _, uid := range []string{dict.UIDVLEndoscopicImageStorage, dict.UIDTextSRStorageTrial, dict.UIDHeightMapSegmentationStorage} {
		if !slices.Contains(list, uid) {
			t.Errorf("%s is missing", uid)
		}
	}
	if len(list) < 150 {
		t.Errorf("only %d storage SOP classes", len(list))
	}
	for _, uid := range list {
		if uid == dict.UIDVerification || uid == dict.UIDStudyRootQueryRetrieveInformationModelFind {
			t.Errorf("%s is no storage SOP class", uid)
		}
	}
}

func TestVR(t *testing.T) {
	for _, c := range []struct {
		vr   dict.VR
		name string
		long bool
		unit int
		pad  byte
	}{
		{dict.PN, "PN", false, 1, ' '}, {dict.UI, "UI", false, 1, 0}, {dict.OW, "OW", true, 2, 0},
		{dict.UV, "UV", true, 8, 0}, {dict.AT, "AT", false, 2, 0}, {dict.UT, "UT", true, 1, ' '},
	} {
		if c.vr.String() != c.name || c.vr.Long() != c.long || c.vr.Unit() != c.unit || c.vr.Pad() != c.pad || !c.vr.Known() {
			t.Errorf("%v: long %v, unit %d, pad %q", c.vr, c.vr.Long(), c.vr.Unit(), c.vr.Pad())
		}
	}
	if dict.VR('Z'<<8|'Z').Known() || dict.VR(0).Known() {
		t.Error("an unknown VR is known")
	}
}

func TestNamesAreTheStandards(t *testing.T) {
	for tag, name := range map[dict.Tag]string{
		dict.PatientName:            "Patient's Name",
		dict.OtherPatientIDs:        "Other Patient IDs",
		dict.NewTag(0x0040, 0x4036): "Human Performer's Organization",
		dict.NewTag(0x601E, 0x3000): "Overlay Data",
		dict.PyramidUID:             "Pyramid UID",
	} {
		if a, ok := dict.LookupTag(tag); !ok || a.Name != name {
			t.Errorf("%v is %q, want %q", tag, a.Name, name)
		}
	}
	for uid, name := range map[string]string{
		"1.2.840.10008.5.1.4.1.1.77.1.5.1": "Ophthalmic Photography 8 Bit Image Storage",
		"1.2.840.10008.5.1.4.1.1.12.2.1":   "Enhanced XRF Image Storage",
		"1.2.840.10008.5.1.4.1.2.2.1":      "Study Root Query/Retrieve Information Model - FIND",
		"1.2.840.10008.5.1.4.1.1.66.7":     "Label Map Segmentation Storage",
	} {
		if u, ok := dict.LookupUID(uid); !ok || u.Name != name {
			t.Errorf("%s is %q, want %q", uid, u.Name, name)
		}
	}
}
