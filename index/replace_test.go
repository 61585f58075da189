package index

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestReplaceFile replaces a file and checks that old temporary files, left by a crash, are removed.
// No other file is.
func TestReplaceFile(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "locations")
	old := time.Now().Add(-2 * staleAge)
	left := map[string]bool{ // whether each file stays, by name
		"index-locations-1.tmp":   false,
		"index-locations-2.tmp":   true, // of a running call
		"index-seen-1.tmp":        false,
		"locations-1.tmp":         true,
		"index-locations-1.other": true,
	}
	for name := range left {
		if err := os.WriteFile(filepath.Join(folder, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if name == "index-locations-2.tmp" {
			continue
		}
		if err := os.Chtimes(filepath.Join(folder, name), old, old); err != nil {
			t.Fatal(err)
		}
	}
	for _, data := range []string{"one", "two"} {
		if err := ReplaceFile(path, []byte(data), data == "one"); err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != data {
			t.Errorf("%q, %v; want %q", got, err, data)
		}
	}
	for name, stays := range left {
		if _, err := os.Lstat(filepath.Join(folder, name)); (err == nil) != stays {
			t.Errorf("%s: %v, want it to stay: %v", name, err, stays)
		}
	}
	entries, err := os.ReadDir(folder)
	if err != nil || len(entries) != len(left)-1 { // two less, and the file itself
		t.Errorf("%d files, %v; want %d", len(entries), err, len(left)-1)
	}
}
