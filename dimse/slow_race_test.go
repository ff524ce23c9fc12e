//go:build race

package dimse

// The race detector looks at every byte: the same hours, for less of them.
const videoSize = 600_000_000
