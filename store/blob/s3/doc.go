// Package s3 keeps objects in a bucket of an S3-compatible server, through
// minio-go, which no other package imports.
//
// A Put that returned nil has been verified: the CRC-32C over the whole object
// that the server reports is ours, or, where it reports none, the object has been
// read back. Objects up to one part are put in one request of known size, larger
// ones in parts; a Put holds two parts of memory and no more. Parts of a Put that
// failed are aborted; those of a process that died are found by
// [Blobs.AbortUploads].
//
// A range is one ranged GET. When the connection breaks inside it, the rest is
// asked for again, of the same object (If-Match). A server that sends nothing for
// [Config.Stall] counts as broken. Bytes that were changed on their way are
// noticed where they are opened, by package seal.
//
// When an answer is lost the outcome is unknown: a Put that returned an error may
// have stored the whole object, never a part of one.
package s3
