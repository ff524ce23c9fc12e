// Package dir keeps objects as files in a folder: the embedded default.
//
// An object "a/b/c" is the file ROOT/a/b/c. It is written to a file in ROOT/.tmp,
// synced with fdatasync, renamed to its place, and then its folder is synced; a
// folder that was made is synced into the one above it before that. So a crash
// leaves whole objects and files in .tmp, and those [New] removes: one process at
// a time uses a ROOT.
//
// Measured for objects of 220 KB on ext4, O_TMPFILE with linkat, preallocation and
// one sync of a folder for several writers gained nothing; fsync instead of
// fdatasync lost up to half with one writer.
package dir
