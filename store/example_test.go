package store_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"

	"lumen/access"
	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/internal/durable"
	"lumen/store"
	"lumen/store/blob/mem"
	"lumen/store/seal"
	"lumen/store/storetest"
)

// An archive in memory takes an instance in, finds it, and hands it out.
func Example() {
	ctx := context.Background()
	folder, err := os.MkdirTemp("", "lumen")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(folder)
	blobs := new(mem.Blobs)
	keys, err := seal.OpenKeyring(ctx, seal.KeyringConfig{
		Root:    seal.FileRoot(durable.OS(), filepath.Join(folder, "root")),
		Objects: blobs, Tenant: access.DefaultTenant, Create: true,
	})
	if err != nil {
		log.Fatal(err)
	}
	archive, err := store.Open(ctx, store.Config{Blobs: blobs, Index: new(storetest.Index), Journal: new(storetest.Journal), Keys: keys})
	if err != nil {
		log.Fatal(err)
	}
	defer archive.Close()

	var d dicom.DataSet
	d.SetString(dict.SOPClassUID, dict.UIDVLEndoscopicImageStorage)
	d.SetString(dict.SOPInstanceUID, "1.2.3.4")
	d.SetString(dict.PatientName, "Doe^Jane")
	d.SetString(dict.StudyInstanceUID, "1.2")
	d.SetString(dict.SeriesInstanceUID, "1.2.3")
	ts, _ := dicom.LookupTransferSyntax(dicom.ExplicitVRLittleEndian)
	data, err := d.Encode(ts)
	if err != nil {
		log.Fatal(err)
	}

	tower := access.Principal{Tenant: access.DefaultTenant, Kind: access.KindAE, Name: "TOWER1", Rights: access.All}
	receipt, err := archive.Ingest(ctx, tower, store.Request{Protocol: "C-STORE"}, store.Incoming{TransferSyntax: ts}, bytes.NewReader(data))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(receipt.Outcome)

	query := store.NewQuery(store.StudyLevel)
	if err := query.Match(dict.PatientName, "doe*"); err != nil {
		log.Fatal(err)
	}
	matches, err := archive.Search(ctx, tower, store.Request{Protocol: "QIDO-RS"}, query)
	if err != nil {
		log.Fatal(err)
	}
	for match, err := range matches {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(match.StudyInstanceUID, match.Attributes.String(dict.PatientName))
	}

	retrieval, err := archive.Open(ctx, tower, store.Request{Protocol: "WADO-RS"}, store.Selection{StudyInstanceUID: "1.2"})
	if err != nil {
		log.Fatal(err)
	}
	for _, instance := range retrieval.Instances() {
		stream, err := instance.DataSet(ctx)
		if err != nil {
			log.Fatal(err)
		}
		back, err := io.ReadAll(stream)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(bytes.Equal(back, data), stream.Close())
	}
	if err := retrieval.Close(nil); err != nil {
		log.Fatal(err)
	}
	// Output:
	// stored
	// 1.2 Doe^Jane
	// true <nil>
}
