//go:build unix

package store_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"platter/repo/store/storetest"
)

// TestGroup checks that new files and folders get the access of their folder, with any umask. They are the group's if
// the folder is shared with a group, else the owner's only.
func TestGroup(t *testing.T) {
	const setgid = fs.ModeSetgid
	for _, umask := range []int{0, 0o027, 0o077} {
		for name, test := range map[string]struct{ above, folder, file fs.FileMode }{
			"own":                      {0o700, 0o700, 0o600},
			"all may read":             {0o755, 0o700, 0o600},
			"writable without setgid":  {0o775, 0o700, 0o600},
			"setgid, but not writable": {0o755 | setgid, 0o700 | setgid, 0o600},
			"shared":                   {0o770 | setgid, 0o770 | setgid, 0o660},
			"shared, all may read":     {0o775 | setgid, 0o770 | setgid, 0o660},
			"shared, all may write":    {0o777 | setgid, 0o770 | setgid, 0o660},
		} {
			above := t.TempDir()
			if err := os.Chmod(above, test.above); err != nil {
				t.Fatal(err)
			}
			root := filepath.Join(above, "more", "repo")
			func() {
				defer syscall.Umask(syscall.Umask(umask))
				l := storetest.OpenLocal(t, root, nil)
				for _, name := range []string{"config", "packs/ab/cd", "work/lease"} {
					if err := l.Put(t.Context(), name, []byte("x")); err != nil {
						t.Fatalf("%s, umask %o: %v", name, umask, err)
					}
				}
				if err := l.Move(t.Context(), "work/lease", "index/moved"); err != nil {
					t.Fatal(err)
				}
			}()
			for path, want := range map[string]fs.FileMode{
				"..": test.folder, ".": test.folder, "packs": test.folder, "packs/ab": test.folder, "index": test.folder,
				"config": test.file, "packs/ab/cd": test.file, "index/moved": test.file,
			} {
				info, err := os.Stat(filepath.Join(root, path))
				if err != nil {
					t.Fatal(err)
				}
				got := info.Mode() & (fs.ModePerm | setgid)
				if want&0o020 == 0 { // whether folders below inherit the bit depends on the system
					got, want = got&^setgid, want&^setgid
				}
				if got != want {
					t.Errorf("%s, umask %o: %s is %v, want %v", name, umask, path, got, want)
				}
			}
		}
	}
}

// TestGroupLater checks that new files follow a folder that is shared with a group later.
func TestGroupLater(t *testing.T) {
	root := t.TempDir()
	l := storetest.OpenLocal(t, root, nil)
	put := func(name string, want fs.FileMode) {
		t.Helper()
		if err := l.Put(t.Context(), name, []byte("x")); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(filepath.Join(root, name)); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s is %v, %v; want %v", name, info.Mode(), err, want)
		}
	}
	put("packs/before", 0o600)
	if err := os.Chmod(filepath.Join(root, "packs"), 0o770|fs.ModeSetgid); err != nil {
		t.Fatal(err)
	}
	put("packs/after", 0o660)
	put("index/other", 0o600)
}
