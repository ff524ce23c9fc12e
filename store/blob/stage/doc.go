// Package stage puts a log before objects that are files: small objects become
// durable by one write into a preallocated segment that all writers share, and
// move to objects of their own when nobody is in a hurry.
//
// A file system makes a new file durable in two transactions of its own journal
// (the content, then the name) and looks for an inode first. A tower waits for
// that after every still. A segment has its blocks already, so a flush of the
// disk is all there is to wait for, and everybody who writes at the same moment
// shares it.
//
// # Contract
//
// [Stage] is a store.Blobs over another one. What it acknowledged is in a segment
// or in the other; a reader never notices which. Objects larger than MaxObject,
// and all objects while no segment is free, go to the other directly. Segments
// are moved out and reused in the order in which they were filled. After a crash
// [Open] finds what was not moved yet.
//
// The bytes are what was given: sealed already. docs/formats/stage.md describes
// a segment byte by byte.
package stage
