package index

import (
	"os"
	"path/filepath"
	"testing"
)

// TestRemoteCache checks that a cache on another machine is not mapped: changes to its file do not affect an open
// index.
func TestRemoteCache(t *testing.T) {
	c := &Cache{Folder: t.TempDir(), Key: [32]byte{1}, Repo: [16]byte{2}, remote: true}
	path := filepath.Join(c.Folder, runName)
	old, _, everything := merged(t, c, 1, 40)
	if err := os.Truncate(path, 0); err != nil { // as other processes see it when the server disappears
		t.Fatal(err)
	}
	wantAll(t, old, everything)

	x, packs, all := merged(t, c, 1, 40)
	again := Open(c)
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	reconcileAll(again, packs)
	wantAll(t, again, all)
	if again.Stored() != len(all) || x.Stored() != len(all) {
		t.Errorf("%d chunks, want %d", again.Stored(), len(all))
	}
	entries, err := os.ReadDir(c.Folder)
	if err != nil || len(entries) != 1 {
		t.Errorf("the folder holds %v, %v; want only the run", entries, err)
	}
}

// TestRemoteCacheWithoutTemp does the same on a machine without a temporary folder.
func TestRemoteCacheWithoutTemp(t *testing.T) {
	c := &Cache{Folder: t.TempDir(), Key: [32]byte{1}, Repo: [16]byte{2}, remote: true}
	for _, name := range []string{"TMPDIR", "TMP", "TEMP"} {
		t.Setenv(name, filepath.Join(c.Folder, "none"))
	}
	_, packs, all := merged(t, c, 1, 40)
	again := Open(c)
	if err := os.Truncate(filepath.Join(c.Folder, runName), 0); err != nil {
		t.Fatal(err)
	}
	reconcileAll(again, packs)
	wantAll(t, again, all)
}
