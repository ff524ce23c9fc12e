package scu

import (
	"context"
	"errors"
	"slices"

	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/dimse"
)

// uniqueKeys are those of the levels below the patient, the top first.
var uniqueKeys = []struct {
	level string
	key   dicom.Tag
}{{"STUDY", dict.StudyInstanceUID}, {"SERIES", dict.SeriesInstanceUID}, {"IMAGE", dict.SOPInstanceUID}}

// survey finds out what a retrieval has to propose, an association an element.
func survey(ctx context.Context, p Peer, id *dicom.DataSet) ([][]dimse.PresentationContext, error) {
	level := id.String(dict.QueryRetrieveLevel)
	for _, u := range uniqueKeys {
		if u.level == level && id.String(u.key) == "" {
			name, _ := dict.LookupTag(u.key)
			return nil, errors.New("what is to be fetched? " + name.Keyword + "=UID")
		}
	}
	kinds, err := ask(ctx, p, id)
	var status *dimse.StatusError
	if err != nil && !errors.Is(err, dimse.ErrNoContext) && !errors.As(err, &status) {
		return nil, err
	}
	if err != nil || len(kinds) == 0 { // it does not answer queries, or not these
		kinds = map[string][]string{}
		for _, class := range dict.StorageSOPClasses() {
			kinds[class] = nil
		}
	}
	return offersOf(kinds), nil
}

// ask returns the SOP classes of what the identifier selects, with the transfer
// syntaxes that the peer says it has. It goes down level by level: not every
// peer answers relational queries.
func ask(ctx context.Context, p Peer, id *dicom.DataSet) (map[string][]string, error) {
	const class = dict.UIDStudyRootQueryRetrieveInformationModelFind
	c, err := p.dial(ctx, queryContext(class))
	if err != nil {
		return nil, err
	}
	var series []*dicom.DataSet
	for d, err := range c.Find(ctx, class, query("SERIES", id)) {
		if err != nil {
			return nil, end(ctx, c, err)
		}
		series = append(series, d)
	}
	kinds := map[string][]string{}
	for _, s := range series {
		q := query("IMAGE", s)
		q.SetString(dict.SOPInstanceUID, id.Strings(dict.SOPInstanceUID)...)
		q.SetString(dict.SOPClassUID)
		q.SetString(dict.AvailableTransferSyntaxUID)
		for d, err := range c.Find(ctx, class, q) {
			if err != nil {
				return nil, end(ctx, c, err)
			}
			note(kinds, d)
		}
	}
	return kinds, end(ctx, c, nil)
}

// query makes an identifier with the unique keys that another one has.
func query(level string, from *dicom.DataSet) *dicom.DataSet {
	q := new(dicom.DataSet)
	q.SetString(dict.QueryRetrieveLevel, level)
	for _, u := range uniqueKeys[:2] {
		q.SetString(u.key, from.Strings(u.key)...)
	}
	return q
}

// note adds what a match says of its instance. A class of which one instance
// comes without its syntaxes can have any.
func note(kinds map[string][]string, match *dicom.DataSet) {
	class, syntaxes := match.String(dict.SOPClassUID), match.Strings(dict.AvailableTransferSyntaxUID)
	known, seen := kinds[class]
	switch {
	case class == "":
	case len(syntaxes) == 0 || seen && known == nil:
		kinds[class] = nil
	default:
		for _, ts := range syntaxes {
			if !slices.Contains(known, ts) {
				known = append(known, ts)
			}
		}
		kinds[class] = known
	}
}

// offersOf distributes classes over associations; those of a class stay
// together. One place is left for the class of the retrieval itself.
func offersOf(kinds map[string][]string) (offers [][]dimse.PresentationContext) {
	var classes []string
	for class := range kinds {
		classes = append(classes, class)
	}
	slices.Sort(classes)
	var offer []dimse.PresentationContext
	for _, class := range classes {
		contexts := contextsOf(class, kinds[class])
		if len(offer)+len(contexts) > dimse.MaxContexts-1 {
			offers, offer = append(offers, offer), nil
		}
		offer = append(offer, contexts...)
	}
	return append(offers, offer)
}

// contextsOf proposes a class in each of its syntaxes; nil stands for all there
// are. Each has a context of its own, so that an instance comes as it is
// stored, but for the uncompressed ones, which every node can turn into each other.
func contextsOf(class string, syntaxes []string) []dimse.PresentationContext {
	if syntaxes == nil {
		for _, ts := range dicom.TransferSyntaxes() {
			syntaxes = append(syntaxes, ts.UID)
		}
	}
	plain := []string{dicom.ExplicitVRLittleEndian, dicom.ImplicitVRLittleEndian}
	contexts := []dimse.PresentationContext{{SOPClass: class, TransferSyntaxes: plain, Role: dimse.RoleSCP}}
	for _, ts := range syntaxes {
		if !slices.Contains(plain, ts) && len(contexts) < dimse.MaxContexts-1 {
			contexts = append(contexts, dimse.PresentationContext{SOPClass: class, TransferSyntaxes: []string{ts}, Role: dimse.RoleSCP})
		}
	}
	return contexts
}
