// Package seal encrypts everything that Lumen writes and keeps the keys.
//
// A sealed object is a [Header] in clear, which holds only random handles,
// followed by a message as in c2sp.org/chunked-encryption with AES-256-GCM and
// SHA-512, and the header as its context: 16 KiB chunks, the last one always
// short. Chunks can be opened in any order; a changed, moved, repeated or
// missing byte, another key and another header are all detected before one
// byte of the chunk is handed out. [Writer] and [Reader] stream; [ReaderAt]
// opens ranges of an object that lies elsewhere. docs/FORMATS.md has every byte.
//
// Keys form a tree. A [Root] wraps one key per tenant; that wraps a random key
// per study and the tenant's keys for index, journal and tokens. Wrapped keys
// are objects themselves, beside what they open: the objects and the root key
// are all that is needed to read an archive again. [Keyring] is the tree of one
// tenant.
//
// Memory: a Writer holds 144 KiB, a Reader and an open range 272 KiB, pooled.
// Nothing is allocated per chunk.
package seal
