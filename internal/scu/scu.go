package scu

import (
	"context"
	"fmt"
	"strings"

	"lumen/dicom"
	"lumen/dicom/dict"
	"lumen/dimse"
)

// Peer is the node that is called.
type Peer struct {
	Address   string // HOST:PORT
	CalledAE  string
	CallingAE string
}

func (p Peer) dial(ctx context.Context, contexts []dimse.PresentationContext) (*dimse.Client, error) {
	d := dimse.Dialer{CallingAE: p.CallingAE}
	c, err := d.Dial(ctx, p.Address, p.CalledAE, contexts)
	if err != nil {
		return nil, fmt.Errorf("associate with %s: %w", p.Address, err)
	}
	return c, nil
}

// queryContext proposes a class in the two syntaxes that every node reads.
func queryContext(sopClass string) []dimse.PresentationContext {
	return []dimse.PresentationContext{{
		SOPClass: sopClass, TransferSyntaxes: []string{dicom.ExplicitVRLittleEndian, dicom.ImplicitVRLittleEndian},
	}}
}

// Echo performs C-ECHO: nil means that the peer answered with success.
func Echo(ctx context.Context, p Peer) error {
	c, err := p.dial(ctx, queryContext(dict.UIDVerification))
	if err != nil {
		return err
	}
	status, err := c.Echo(ctx)
	if err == nil && status != dimse.StatusSuccess {
		err = &dimse.StatusError{Status: status}
	}
	if err != nil {
		c.Abort()
		return err
	}
	return c.Release(ctx)
}

// Find performs C-FIND (Study Root) at a level, with keys written KEYWORD=VALUE,
// and calls visit with each match.
func Find(ctx context.Context, p Peer, level string, keys []string, visit func(*dicom.DataSet) error) error {
	identifier, err := identifier(level, keys)
	if err != nil {
		return err
	}
	const class = dict.UIDStudyRootQueryRetrieveInformationModelFind
	c, err := p.dial(ctx, queryContext(class))
	if err != nil {
		return err
	}
	for match, err := range c.Find(ctx, class, identifier) {
		if err == nil {
			err = visit(match)
		}
		if err != nil {
			c.Abort()
			return err
		}
	}
	return c.Release(ctx)
}

// identifier builds a query. Values are UTF-8, which the query says.
func identifier(level string, keys []string) (*dicom.DataSet, error) {
	d := &dicom.DataSet{}
	d.SetString(dict.SpecificCharacterSet, "ISO_IR 192")
	d.SetString(dict.QueryRetrieveLevel, level)
	for _, key := range keys {
		keyword, value, _ := strings.Cut(key, "=")
		tag, ok := dict.LookupKeyword(keyword)
		if !ok {
			return nil, fmt.Errorf("%q is not the keyword of an attribute, as in PatientName=DOE*", keyword)
		}
		d.SetString(tag, strings.Split(value, `\`)...)
	}
	return d, nil
}
