package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"platter/snapshot/image/oracle"
)

// TestDiskFull fills a real file system. It needs the right to mount one. Without it, TestFull covers the same with
// made-up errors.
func TestDiskFull(t *testing.T) {
	root := t.TempDir()
	if err := unix.Mount("tmpfs", root, "tmpfs", 0, "size=1m"); err != nil {
		oracle.Lacking(t, "mount a tmpfs: %v (in CI this test must run: give it root)", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(root, 0); err != nil { // EBUSY would mean that a file is still open
			t.Error(err)
		}
	})
	l := openLocal(t, root, nil)
	must(t, l.Put(t.Context(), "packs/small", make([]byte, 1000)))
	for range 3 { // each Put must free what it took
		err := l.Put(t.Context(), "packs/small", make([]byte, 2<<20))
		if !errors.Is(err, ErrFull) || !errors.Is(err, unix.ENOSPC) {
			t.Fatalf("Put on a full disk says %v, want ErrFull and ENOSPC", err)
		}
	}
	must(t, l.Put(t.Context(), "packs/half", make([]byte, 512<<10)))
	if got, err := l.Get(t.Context(), "packs/small", 0, 2000); err != nil || len(got) != 1000 {
		t.Errorf("the old file has %d bytes, %v; want 1000", len(got), err)
	}
	for info, err := range l.Leftovers(t.Context()) {
		t.Errorf("Leftovers yields %+v, %v", info, err)
	}
}

// dropRights gives this test's thread another user than root until the test ends: permissions do not stop root.
func dropRights(t *testing.T) {
	if os.Geteuid() != 0 {
		return
	}
	const unprivileged = 65534 // the user nobody
	runtime.LockOSThread()
	t.Cleanup(runtime.UnlockOSThread)
	_, err := unix.SetfsuidRetUid(unprivileged)
	must(t, err)
	t.Cleanup(func() { unix.SetfsuidRetUid(0) })
}

func TestPermissionDenied(t *testing.T) {
	root := t.TempDir()
	must(t, os.Chmod(filepath.Dir(root), 0o755)) // package testing creates it with mode 0700
	l := openLocal(t, root, nil)
	must(t, l.Put(t.Context(), "shut/file", []byte("x")))
	must(t, l.Put(t.Context(), "read-only/file", []byte("x")))
	must(t, os.Chmod(filepath.Join(root, "shut", "file"), 0))
	must(t, os.Chmod(filepath.Join(root, "read-only", "file"), 0))
	must(t, os.Chmod(filepath.Join(root, "shut"), 0))
	must(t, os.Chmod(filepath.Join(root, "read-only"), 0o555))
	t.Cleanup(func() { must(t, os.Chmod(filepath.Join(root, "shut"), 0o700)) })
	t.Cleanup(func() { must(t, os.Chmod(filepath.Join(root, "read-only"), 0o700)) })
	dropRights(t)

	denied := func(call string, err error) {
		t.Helper()
		if !errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrFull) {
			t.Errorf("%s says %v, want fs.ErrPermission", call, err)
		}
	}
	for _, l := range []*Local{l, openLocal(t, root, nil)} { // one that knows the folders and one that does not
		denied("Put in a shut folder", l.Put(t.Context(), "shut/new", []byte("x")))
		denied("Put in a read-only folder", l.Put(t.Context(), "read-only/new", []byte("x")))
		denied("Put below a read-only folder", l.Put(t.Context(), "read-only/new/er", []byte("x")))
		denied("Delete in a read-only folder", l.Delete(t.Context(), "read-only/file"))
		_, err := l.Get(t.Context(), "read-only/file", 0, 1)
		denied("Get of a shut file", err)
		_, err = l.Get(t.Context(), "shut/file", 0, 1)
		denied("Get in a shut folder", err)
		var last error
		for _, err := range l.List(t.Context(), "shut") {
			last = err
		}
		denied("List of a shut folder", last)
		wantNames(t, l, "read-only", "read-only/file")
	}
}
