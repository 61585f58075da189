package overlay

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"platter/snapshot/image"
	"platter/snapshot/image/oracle"
)

// TestDiskFull fills a real file system. It needs the right to mount one. Without it, TestFull covers the same with a
// file in memory.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"); err != nil {
		oracle.Lacking(t, "the right to mount a tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil { // EBUSY would mean that a file is still open
			t.Error(err)
		}
	})
	path := filepath.Join(dir, "overlay")
	base := image.Sparse{Bytes: 8 << 20, Fills: []image.Fill{{Len: 8 << 20, Seed: 3}}}
	d, err := Create(path, base, Binding{})
	must(t, err)
	fillUp(t, d, 1024)
	must(t, d.Zero(0, 1<<20))
	must(t, d.Sync()) // punches holes
	must(t, os.WriteFile(filepath.Join(dir, "other"), make([]byte, 900<<10), 0o600))
	must(t, os.Remove(filepath.Join(dir, "other")))
	_, err = d.WriteAt(make([]byte, 900<<10), 7<<20)
	must(t, err)
	must(t, d.Close())
	d, err = Open(path, base, Binding{})
	must(t, err)
	must(t, d.Close())
}
