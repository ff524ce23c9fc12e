package node_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lumen/internal/durable"
	"lumen/internal/node"
)

func TestFolderIsMadeOnceAndLocked(t *testing.T) {
	root := filepath.Join(t.TempDir(), "data")
	if _, err := node.OpenFolder(durable.OS(), root, false); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a folder that is not there: %v", err)
	}
	f, err := node.OpenFolder(durable.OS(), root, true)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(root); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if _, err := node.OpenFolder(durable.OS(), root, true); !errors.Is(err, node.ErrRunning) {
		t.Errorf("a second process: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := node.OpenFolder(durable.OS(), root, false)
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}

func TestFoldersThatAreRefused(t *testing.T) {
	for _, c := range []struct {
		name, want string
		prepare    func(root string) error
	}{
		{"others can look into it", "chmod 700", func(root string) error { return os.Mkdir(root, 0o755) }},
		{"it is somebody else's", "other content", func(root string) error {
			return errors.Join(os.Mkdir(root, 0o700), os.WriteFile(filepath.Join(root, "thesis.tex"), nil, 0o600))
		}},
		{"a newer binary made it", "has format", func(root string) error {
			return errors.Join(os.Mkdir(root, 0o700), os.WriteFile(filepath.Join(root, "format"), []byte("1\n"), 0o600))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := filepath.Join(t.TempDir(), "data")
			if err := c.prepare(root); err != nil {
				t.Fatal(err)
			}
			if _, err := node.OpenFolder(durable.OS(), root, true); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestFolderOfARestoredBackupIsTaken(t *testing.T) {
	root := filepath.Join(t.TempDir(), "data")
	if err := errors.Join(os.Mkdir(root, 0o700), os.Mkdir(filepath.Join(root, "keys"), 0o700), os.Mkdir(filepath.Join(root, "blobs"), 0o700)); err != nil {
		t.Fatal(err)
	}
	f, err := node.OpenFolder(durable.OS(), root, true)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
}
