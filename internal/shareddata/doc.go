// Package shareddata finds the collection of real DICOM files that tests read.
//
// The files lie outside the module, in the folder that $LUMEN_SHARED names, or
// in `shared` beside one of the module's parent folders. They are never copied
// into the project. Where there is none, a test that needs them is skipped,
// unless CI=true: there it fails, so that nobody takes silence for success.
package shareddata
