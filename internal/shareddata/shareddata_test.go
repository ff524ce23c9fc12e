package shareddata_test

import (
	"os"
	"testing"

	"lumen/internal/shareddata"
)

func TestEveryIndexedFileIsThere(t *testing.T) {
	files := shareddata.Files(t)
	for _, e := range files {
		if _, err := os.Stat(e.Path); err != nil {
			t.Error(err)
		}
	}
	if valid := len(shareddata.Valid(t)); valid == 0 || valid == len(files) {
		t.Errorf("%d of %d files are valid", valid, len(files))
	}
}
