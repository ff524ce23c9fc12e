// Package durable has files that survive a crash, and the clock: the two things
// of the operating system that a test must be able to bend.
//
// Everything in Lumen that must still be there after a power failure goes
// through [FS]. [OS] is the real one. [Mem] is one in memory that can crash:
// it forgets what was not synced, all of it or any part. [Faults] wraps either
// and makes chosen operations fail, with or without having taken effect.
//
// The rule that all users follow: write a new file under a temporary name, sync
// it, rename it, sync its folder; only then tell anybody. [WriteFile] does so
// for small files. Temporary files end in [TempSuffix] and are garbage after a
// crash.
//
// After a failed fsync the kernel may have dropped the dirty pages and marked
// them clean: trying again would succeed without anything having been written.
// Such errors wrap [ErrSync]; the process must exit and recover from what is on
// the disk ([IsFatal]).
package durable
