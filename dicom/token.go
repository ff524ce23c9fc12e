package dicom

// Kind says what a token stands for.
type Kind uint8

// The kinds of tokens. Starts and ends are balanced whatever the delimitation
// in the stream was.
const (
	ElementToken   Kind = iota + 1 // an element with a value to read
	SequenceStart                  // an element whose value are items
	ItemStart                      // a data set in a sequence
	ItemEnd                        //
	SequenceEnd                    //
	FragmentsStart                 // an element whose value are fragments: encapsulated pixel data
	Fragment                       // one of them, with a value to read; the first is the basic offset table
	FragmentsEnd                   //
)

// Token is what [Reader.Next] found.
type Token struct {
	Kind   Kind
	VR     VR    // of elements, sequences and fragments; from the dictionary in implicit VR
	Tag    Tag   // of the element; ends repeat the tag of their start, items have (FFFE,E000)
	Depth  int   // of enclosing sequences: 0 for the data set itself, 1 in the items of its sequences
	Length int64 // in bytes, -1 undefined
	Start  int64 // offset of the element's or item's first byte in the stream
	Offset int64 // offset of the value
}
