package index

import (
	"os"
	"path/filepath"
	"testing"
)

// TestRemoteCache holds that of a cache on another machine nothing is mapped: what becomes of its file changes nothing.
func TestRemoteCache(t *testing.T) {
	c := &Cache{Folder: t.TempDir(), Key: [32]byte{1}, Repo: [16]byte{2}, remote: true}
	path := filepath.Join(c.Folder, runName)
	old, _, everything := merged(t, c, 1, 40)
	if err := os.Truncate(path, 0); err != nil { // in the others' view: the server went away
		t.Fatal(err)
	}
	wantAll(t, old, everything)

	x, packs, all := merged(t, c, 1, 40)
	again := Open(c)
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	settleAll(again, packs)
	wantAll(t, again, all)
	if again.Stored() != len(all) || x.Stored() != len(all) {
		t.Errorf("%d chunks, want %d", again.Stored(), len(all))
	}
	entries, err := os.ReadDir(c.Folder)
	if err != nil || len(entries) != 1 {
		t.Errorf("the folder holds %v, %v; want the run alone", entries, err)
	}
}

// TestRemoteCacheWithoutTemp is the same on a machine that has no place for a copy.
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
	settleAll(again, packs)
	wantAll(t, again, all)
}
