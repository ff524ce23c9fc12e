// Package spool puts a local store.Blobs before a remote one. What is put is
// durable locally and acknowledged; workers upload it in the background, as often
// as it takes; when the remote has it (its Put has verified that) the local copy
// stays for a while for readers and is dropped then. Reads look in the local one
// first.
//
// While the remote is away ingest goes on, until the objects that it has not got
// fill the spool to its high-water mark: then Put returns store.ErrNoSpace, and
// works again when there is room. The backlog is in the metrics; it is what the
// loss of the local disk would lose. With [AckRemote] a Put waits for its upload
// instead.
//
// There is no list on disk of what has been uploaded. After a start every local
// object counts as not uploaded, until the remote reports the same size and
// CRC-32C, or it has been uploaded again: the same bytes under the same name.
//
// Objects that [Config.Keep] chooses, a few and small, are never dropped: without
// the keys of an archive nothing in it works while the remote is away.
//
// Memory is some 200 bytes for each local object, and what the two sides need for
// as many uploads as there are workers.
package spool
