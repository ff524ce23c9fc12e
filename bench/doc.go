// Command bench measures Lumen beside its peers, in one run on one machine.
//
// Machines are noisy and differ, so no figure stands alone: each row of the
// table is a ratio between Lumen and a peer that did the same work in the same
// round, with the spread over the rounds, beside the ratio that DESIGN section
// 13 asks for. The peers are Debian's: Orthanc with its DICOMweb plugin,
// DCMTK's storescp and storescu, and nginx. All of them listen on loopback, on
// free ports, and end with the program.
//
// The load comes from Lumen's own DIMSE client and Go's HTTP client, the same
// for every peer; where a row says "default client" it is DCMTK's storescu.
//
//	go run ./bench -lumen bin/lumen            every row
//	go run ./bench -lumen bin/lumen -only move rows whose name matches
package main
