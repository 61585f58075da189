//go:build unix

package virtual

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// hostileFiles makes files that a descriptor must not be able to open: a link to a file in another folder, a pipe
// without a writer, and a link to a device.
func hostileFiles(t *testing.T, dir string) {
	t.Helper()
	for name, target := range map[string]string{"link.vmdk": "../outside.vmdk", "null.vmdk": os.DevNull} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mkfifo(filepath.Join(dir, "fifo.vmdk"), 0o600); err != nil {
		t.Fatal(err)
	}
}
