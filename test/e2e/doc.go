// Package e2e tests the built binary from outside: it starts nodes on free
// ports with data folders of their own and talks to them with DCMTK, Orthanc,
// pydicom and plain HTTP. Each test shows one thing that the README promises;
// TestInterop is a matrix of what the peers and the node do with each other. All
// run where there is only the loopback interface (see internal/loopback).
//
// The oracle for what arrives over DIMSE is what DCMTK's `storescp +B` writes
// when the same storescu command is pointed at it: storescu rewrites some data
// sets before it sends them.
//
// Programs that are missing skip a test, or fail it when CI=true. Real files
// come from the shared collection (see internal/shareddata);
// testdata/expected.tsv says what is expected of each of them.
package e2e
