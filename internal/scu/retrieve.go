package scu

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/dimse"
)

// Counts are the sub-operations of a retrieval.
type Counts = dimse.SubOperations

// Move performs C-MOVE (Study Root) of what the keys select to the AE
// destination, and calls progress with each pending response.
func Move(ctx context.Context, p Peer, destination, level string, keys []string, progress func(dimse.SubOperations)) (dimse.SubOperations, error) {
	const class = dict.UIDStudyRootQueryRetrieveInformationModelMove
	id, err := identifier(level, keys)
	if err != nil {
		return dimse.SubOperations{}, err
	}
	c, err := p.dial(ctx, queryContext(class))
	if err != nil {
		return dimse.SubOperations{}, err
	}
	n, err := c.Move(ctx, class, destination, id, func(n dimse.SubOperations) error { progress(n); return ctx.Err() })
	return n, end(ctx, c, err)
}

// Get performs C-GET (Study Root) of what the keys select, and writes each
// instance to a file of its own in dir, numbered in the order of arrival: names
// say nothing of what they hold. It calls progress with each pending response.
// Classes are those of [getClasses]; instances of others fail at the peer.
func Get(ctx context.Context, p Peer, dir, level string, keys []string, progress func(dimse.SubOperations)) (dimse.SubOperations, error) {
	const class = dict.UIDStudyRootQueryRetrieveInformationModelGet
	id, err := identifier(level, keys)
	if err != nil {
		return dimse.SubOperations{}, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return dimse.SubOperations{}, err
	}
	c, err := p.dial(ctx, append(queryContext(class), getContexts()...))
	if err != nil {
		return dimse.SubOperations{}, err
	}
	number := 0
	n, err := c.Get(ctx, class, id, func(_ context.Context, rq *dimse.StoreRequest, data io.Reader) error {
		number++
		return save(filepath.Join(dir, fmt.Sprintf("%06d.dcm", number)), rq, data)
	}, func(n dimse.SubOperations) error { progress(n); return ctx.Err() })
	return n, end(ctx, c, err)
}

// end releases an association after its operation, or aborts it when it failed.
func end(ctx context.Context, c *dimse.Client, err error) error {
	if err != nil {
		c.Abort()
		return err
	}
	return c.Release(ctx)
}

// save writes a file of DICOM. It does not write over one that is there, and
// leaves none that is not whole.
func save(name string, rq *dimse.StoreRequest, data io.Reader) (err error) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if closed := f.Close(); err == nil {
			err = closed
		}
		if err != nil {
			os.Remove(name)
		}
	}()
	meta := dicom.FileMeta{
		MediaStorageSOPClassUID: rq.SOPClassUID, MediaStorageSOPInstanceUID: rq.SOPInstanceUID, TransferSyntaxUID: rq.TransferSyntax.UID,
		ImplementationClassUID: dicom.ImplementationClassUID, ImplementationVersionName: dicom.ImplementationVersionName,
	}
	if _, err := f.Write(meta.AppendTo(nil)); err != nil {
		return err
	}
	_, err = io.Copy(f, data)
	return err
}

// getClasses are what C-GET can bring. An association has room for 128
// contexts, and each syntax needs one of its own so that an instance comes as
// it is stored: these are the classes of endoscopy and the most frequent others.
var getClasses = []string{
	dict.UIDVLEndoscopicImageStorage, dict.UIDVideoEndoscopicImageStorage,
	dict.UIDVLMicroscopicImageStorage, dict.UIDVideoMicroscopicImageStorage,
	dict.UIDVLPhotographicImageStorage, dict.UIDVideoPhotographicImageStorage,
	dict.UIDUltrasoundImageStorage, dict.UIDUltrasoundMultiframeImageStorage,
	dict.UIDSecondaryCaptureImageStorage, dict.UIDMultiframeTrueColorSecondaryCaptureImageStorage,
	dict.UIDCTImageStorage, dict.UIDMRImageStorage, dict.UIDComputedRadiographyImageStorage,
	dict.UIDDigitalXRayImageStorageForPresentation, dict.UIDXRayAngiographicImageStorage,
}

// getPlain are classes without pixels.
var getPlain = []string{
	dict.UIDEncapsulatedPDFStorage, dict.UIDBasicTextSRStorage, dict.UIDEnhancedSRStorage, dict.UIDComprehensiveSRStorage,
	dict.UIDKeyObjectSelectionDocumentStorage, dict.UIDGrayscaleSoftcopyPresentationStateStorage,
}

// getContexts proposes each class in each of its syntaxes, the peer sending.
func getContexts() []dimse.PresentationContext {
	stills := []string{"1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.80",
		"1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91", "1.2.840.10008.1.2.5"}
	videos := []string{"1.2.840.10008.1.2.4.100", "1.2.840.10008.1.2.4.101", "1.2.840.10008.1.2.4.102",
		"1.2.840.10008.1.2.4.103", "1.2.840.10008.1.2.4.107"}
	plain := []string{dicom.ExplicitVRLittleEndian, dicom.ImplicitVRLittleEndian}
	var list []dimse.PresentationContext
	add := func(class string, syntaxes ...string) {
		list = append(list, dimse.PresentationContext{SOPClass: class, TransferSyntaxes: syntaxes, Role: dimse.RoleSCP})
	}
	for i, class := range getClasses {
		add(class, plain...)
		for _, ts := range stills {
			add(class, ts)
		}
		if i < 6 && i%2 == 1 { // a video class of the pairs above
			for _, ts := range videos {
				add(class, ts)
			}
		}
	}
	for _, class := range getPlain {
		add(class, plain...)
	}
	return list
}
