package scp

import (
	"io"

	"lumen/dicom"
	"lumen/dimse"
	"lumen/store"
)

// offers numbers, for each SOP class and transfer syntax that a C-MOVE has to
// offer, the association that it is offered on: 128 presentation contexts fit
// in each, and what belongs to one class stays together.
//
// Every instance is offered as it is stored. Classes with uncompressed
// instances are offered in Implicit VR Little Endian too, the one syntax that
// every receiver takes (PS3.5 section 10.1).
func offers(instances []*store.Instance) map[group]int {
	implicit, _ := dicom.LookupTransferSyntax(dicom.ImplicitVRLittleEndian)
	seen := make(map[group]bool)
	syntaxes := make(map[string][]string)
	var classes []string
	add := func(g group) {
		if seen[g] {
			return
		}
		seen[g] = true
		if syntaxes[g.sopClass] == nil {
			classes = append(classes, g.sopClass)
		}
		syntaxes[g.sopClass] = append(syntaxes[g.sopClass], g.transferSyntax)
	}
	for _, i := range instances {
		g := group{i.SOPClassUID, i.TransferSyntaxUID}
		add(g)
		if ts, ok := dicom.LookupTransferSyntax(g.transferSyntax); ok && dicom.CanTranscode(ts, implicit) {
			add(group{g.sopClass, implicit.UID})
		}
	}
	numbers := make(map[group]int)
	batch, used := 0, 0
	for _, class := range classes {
		if used += len(syntaxes[class]); used > dimse.MaxContexts {
			batch, used = batch+1, len(syntaxes[class])
		}
		for _, ts := range syntaxes[class] {
			numbers[group{class, ts}] = batch
		}
	}
	return numbers
}

// group is what needs one presentation context.
type group struct{ sopClass, transferSyntax string }

// choose picks the syntax to send an object in: as it is stored, or what it can
// be turned into without a pixel codec.
func choose(contexts []dimse.Context, i *store.Instance) (from, to dicom.TransferSyntax, err error) {
	from, known := dicom.LookupTransferSyntax(i.TransferSyntaxUID)
	found := false
	for _, c := range contexts {
		switch {
		case c.SOPClass != i.SOPClassUID:
		case c.TransferSyntax.UID == i.TransferSyntaxUID:
			return c.TransferSyntax, c.TransferSyntax, nil
		case known && !found && dicom.CanTranscode(from, c.TransferSyntax):
			to, found = c.TransferSyntax, true
		}
	}
	if !found {
		return from, to, dimse.ErrNoContext
	}
	return from, to, nil
}

// open gives the object's data set in the syntax to. The caller closes it
// before it closes or rewinds p.
func (p *prepared) open(from, to dicom.TransferSyntax) io.ReadCloser {
	if from.UID == to.UID {
		return io.NopCloser(p.reader())
	}
	r, w := io.Pipe()
	t := &transcoding{PipeReader: r, done: make(chan struct{})}
	go func() {
		defer close(t.done)
		w.CloseWithError(p.transcode(w, from, to))
	}()
	return t
}

func (p *prepared) transcode(w io.Writer, from, to dicom.TransferSyntax) (err error) {
	defer caught(&err)
	return dicom.Transcode(w, p.reader(), from, to, dicom.DefaultLimits())
}

// transcoding is a data set that is turned into another syntax as it is read.
type transcoding struct {
	*io.PipeReader
	done chan struct{}
}

// Close ends the turning and waits for that.
func (t *transcoding) Close() error {
	err := t.PipeReader.Close()
	<-t.done
	return err
}
