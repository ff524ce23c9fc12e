package dicom

// TransferSyntax says how a data set is encoded (PS3.5 section 10). The zero
// value is Explicit VR Little Endian without a UID.
type TransferSyntax struct {
	UID, Name    string
	ImplicitVR   bool // no VR in the stream: it comes from the dictionary
	BigEndian    bool
	Deflated     bool // the whole data set is one deflate stream (RFC 1951)
	Encapsulated bool // pixel data is a sequence of fragments
	Lossy        bool // may be lossy
	Video        bool // the fragments together are one video stream
	Retired      bool
}

// LookupTransferSyntax finds a transfer syntax of the standard by its UID.
func LookupTransferSyntax(uid string) (TransferSyntax, bool) {
	for i := range transferSyntaxes {
		if transferSyntaxes[i].UID == uid {
			return transferSyntaxes[i], true
		}
	}
	return TransferSyntax{}, false
}

// TransferSyntaxes lists all transfer syntaxes of the table in the order of
// the standard.
func TransferSyntaxes() []TransferSyntax {
	return append([]TransferSyntax(nil), transferSyntaxes[:]...)
}
