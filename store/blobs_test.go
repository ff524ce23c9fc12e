package store_test

import (
	"strings"
	"testing"

	"lumen/store"
)

func TestValidBlobName(t *testing.T) {
	long := strings.Repeat("a", 64)
	for _, tc := range []struct {
		name string
		want bool
	}{
		{"a", true},
		{"0f-9/key/2026-11", true},
		{long + "/" + long, true},
		{"1/2/3/4/5/6/7/8", true},
		{"1/2/3/4/5/6/7/8/9", false},
		{long + "a", false},
		{"", false},
		{"/a", false},
		{"a/", false},
		{"a//b", false},
		{"a/../b", false},
		{".", false},
		{"A", false},
		{"a\\b", false},
		{"a\x00", false},
		{"é", false},
	} {
		if got := store.ValidBlobName(tc.name); got != tc.want {
			t.Errorf("ValidBlobName(%q) = %v", tc.name, got)
		}
		if tc.name == "" {
			continue
		}
		if got := store.ValidBlobPrefix(tc.name + "/"); got != tc.want {
			t.Errorf("ValidBlobPrefix(%q) = %v", tc.name+"/", got)
		}
		if store.ValidBlobPrefix(tc.name) && !strings.HasSuffix(tc.name, "/") {
			t.Errorf("ValidBlobPrefix(%q) without a slash at its end", tc.name)
		}
	}
	if !store.ValidBlobPrefix("") {
		t.Error("the empty prefix is not valid")
	}
}
