// Package config reads the one YAML file that a node may have.
//
// Loading is strict and tells everything at once: unknown and repeated keys,
// values of the wrong type, bad sizes, durations, addresses and prefixes, and
// files that are not there are collected into one [*Error], each with the line
// it stands on, so that an operator corrects a file in one go. Flags come over
// the file, the file over the defaults. No value is ever printed that could be
// a secret: root keys are named by where they are kept, never by what they are.
//
// The package knows no other package but access, whose rights and AE entries
// it reads: the wiring turns its types into those of the parts.
package config
