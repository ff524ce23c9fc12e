// Package loopback runs a program, and all that it starts, where there is no
// network but the loopback interface.
//
// It is for programs that start servers of other makers: DCMTK's storescp and
// Orthanc listen on all interfaces, and take whatever anybody sends them while
// a test runs. In a network namespace of its own nobody else reaches them, and
// they reach nobody. A process namespace goes with it: when the program ends,
// in whatever way, the kernel ends what it started. The ports for such servers
// come from [FreePort].
package loopback
