// Package test holds what concerns the whole house and no single package: the
// rule of who may import whom, and below it, in test/e2e, the tests that run
// the built binary against DCMTK, pydicom and plain HTTP.
package test
