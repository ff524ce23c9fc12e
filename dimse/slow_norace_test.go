//go:build !race

package dimse

const videoSize = 6_000_000_000
