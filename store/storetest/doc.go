// Package storetest has a journal and an index in memory for tests of the
// archive and of what is built on it: small enough to be read at a glance, with
// the failures that a test wants to see. Neither is durable.
package storetest
