// Package scp serves DIMSE over the archive: it turns messages into calls of
// the archive and what those return into statuses and responses. It is the
// twin of package wado.
//
// [New] makes a server of all services: Verification, Storage of every storage
// SOP class in the dictionary, and Query/Retrieve (FIND, MOVE, GET) for the
// Patient Root, Study Root and Patient/Study Only information models (PS3.4
// annexes A, B and C).
//
// Who calls is decided once per association by the access policy; the
// principal goes with every call into the archive, which checks rights and
// journals. This package journals associations themselves. C-MOVE sends to
// configured destinations only.
//
// Queries need no negotiation to be relational: unique keys of upper levels
// may be absent. Combined date and time matching and fuzzy matching of names
// are negotiated (PS3.4 C.5.1.1).
package scp
