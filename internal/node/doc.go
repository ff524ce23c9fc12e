// Package node puts the parts together and runs them.
//
// It holds wiring only: [Serve] builds everything from a config.Config, in an
// order that reads from top to bottom, runs it until its context ends and takes
// it down in the reverse order, finishing what was accepted. What decides
// anything about DICOM, the archive or the journal lives in those packages.
//
// What belongs to no other package is here: the data folder with its lock, the
// journal adapter that turns the archive's events into audit records, the
// mux with health and metrics and the check of the Host header, the admin
// socket through which commands reach a running node, and the hardening of the
// process.
//
// Commands work whether the node runs or not: [Dial] returns a client of the
// admin socket, or opens the folder itself and answers through the same
// handler in this process.
package node
