// Package access says who asks and what they may do.
//
// A [Principal] is made once, where a caller is recognised: from an AE title
// and its address for DIMSE, from the listener for HTTP, from the operating
// system's user for commands. It then goes explicitly with every call into the
// archive. One [Policy] decides for all protocols, so that C-FIND and QIDO-RS
// answer the same to the same principal.
//
// The package is a leaf: it imports nothing of Lumen and is imported by all
// that decide or record who did what.
package access
