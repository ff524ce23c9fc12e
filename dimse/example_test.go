package dimse_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/dimse"
)

// A receiver that prints what it gets, and a sender.
func Example() {
	server := &dimse.Server{
		Associate: func(_ context.Context, rq *dimse.AssociateRequest) (any, error) {
			if rq.CallingAE != "TOWER1" {
				return nil, dimse.RejectCallingAE(errors.New("not configured"))
			}
			return nil, nil
		},
		Services: []dimse.Service{
			{SOPClasses: []string{dict.UIDVerification}, Echo: dimse.Echo},
			{SOPClasses: dict.StorageSOPClasses(), Store: func(_ context.Context, a *dimse.Association, rq *dimse.StoreRequest, data io.Reader) error {
				n, err := io.Copy(io.Discard, data) // as it arrives
				fmt.Printf("%s sent %d bytes in %s\n", a.CallingAE, n, rq.TransferSyntax.Name)
				return err
			}},
		},
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	go server.Serve(ctx, listener)
	defer server.Shutdown(ctx)

	var image dicom.DataSet
	image.SetString(dict.SOPClassUID, dict.UIDVLEndoscopicImageStorage)
	image.SetString(dict.SOPInstanceUID, "1.2.3.4")
	send := func(title string) error {
		dialer := dimse.Dialer{CallingAE: title}
		client, err := dialer.Dial(ctx, listener.Addr().String(), "LUMEN", []dimse.PresentationContext{
			{SOPClass: dict.UIDVLEndoscopicImageStorage, TransferSyntaxes: []string{dicom.ExplicitVRLittleEndian}}})
		if err != nil {
			return err
		}
		defer client.Release(ctx)
		for _, accepted := range client.Accepted(dict.UIDVLEndoscopicImageStorage) {
			r, w := io.Pipe()
			go func() {
				writer := dicom.NewWriter(w, accepted.TransferSyntax)
				err := writer.WriteDataSet(&image)
				w.CloseWithError(errors.Join(err, writer.Close()))
			}()
			status, err := client.Store(ctx, dimse.StoreRequest{SOPClassUID: dict.UIDVLEndoscopicImageStorage,
				SOPInstanceUID: "1.2.3.4", TransferSyntax: accepted.TransferSyntax}, r)
			if err != nil {
				return err
			}
			fmt.Println("status", status)
		}
		return nil
	}
	fmt.Println(send("TOWER1"))
	fmt.Println(send("SOMEBODY"))
	// Output:
	// TOWER1 sent 54 bytes in Explicit VR Little Endian
	// status 0000 (success)
	// <nil>
	// association rejected by the peer: result 1, source 1, reason 3
}
