package blob_test

import (
	"strings"
	"testing"

	"lumen/store/blob"
)

func TestValidName(t *testing.T) {
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
		if got := blob.ValidName(tc.name); got != tc.want {
			t.Errorf("ValidName(%q) = %v", tc.name, got)
		}
		if tc.name == "" {
			continue
		}
		if got := blob.ValidPrefix(tc.name + "/"); got != tc.want {
			t.Errorf("ValidPrefix(%q) = %v", tc.name+"/", got)
		}
		if blob.ValidPrefix(tc.name) && !strings.HasSuffix(tc.name, "/") {
			t.Errorf("ValidPrefix(%q) without a slash at its end", tc.name)
		}
	}
	if !blob.ValidPrefix("") {
		t.Error("the empty prefix is not valid")
	}
}
