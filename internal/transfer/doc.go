// Package transfer carries files between folders or ZIP archives and an archive,
// through the admin socket of its node: the commands import and export.
//
// The command's process opens and writes files, with the rights of whoever runs
// it; the node sees streams only. Neither holds more of a file than a buffer.
//
// An import may be interrupted at any time and run again: what is in the archive
// is recognised by the SHA-256 of its data set, without being sent, or by the
// archive when that is not enough. An export writes to a new place only, and
// whatever it leaves when it is interrupted has no DICOMDIR.
package transfer
