//go:build unix

package restore

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestReplaceFileBehindLinks checks that a link stays a link, and that its destination is replaced.
func TestReplaceFileBehindLinks(t *testing.T) {
	dir := t.TempDir()
	for _, sub := range []string{"links", "far/away"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	links := map[string]string{
		"one": "two", "two": "../links/three", "three": filepath.Join(dir, "folder/real"), "../folder": "far/away", "nothing": "no/such/file",
		"self": "self", "to-folder": "../far",
	}
	for from, to := range links {
		if err := os.Symlink(to, filepath.Join(dir, "links", from)); err != nil {
			t.Fatal(err)
		}
	}
	realFile := filepath.Join(dir, "far/away/real")
	if err := os.WriteFile(realFile, []byte("old"), 0o640); err != nil {
		t.Fatal(err)
	}
	before := names(t, filepath.Join(dir, "links"))
	for _, name := range []string{"one", "two", "three"} {
		link := filepath.Join(dir, "links", name)
		if err := intoNew(link, overwriting{}, nil, fileContent("never")); err == nil {
			t.Errorf("%s was replaced without leave", name)
		}
		err := ReplaceFile(link, nil, func(f *os.File) error {
			if got := names(t, filepath.Dir(realFile)); !strings.HasPrefix(got, ".real.partial-") {
				t.Errorf("beside the file that is replaced, there is %q", got)
			}
			return fileContent(name)(f)
		})
		if err != nil {
			t.Error(err)
		}
		holds(t, realFile, name)
		if to, err := os.Readlink(link); err != nil || to != links[name] {
			t.Errorf("the link leads to %q now, %v", to, err)
		}
	}
	for name, want := range map[string]string{"nothing": "link to nothing", "self": "too many levels", "to-folder": "it is a folder"} {
		if err := ReplaceFile(filepath.Join(dir, "links", name), nil, fileContent("x")); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if after := names(t, filepath.Join(dir, "links")); after != before {
		t.Errorf("of the links %s there are %s", before, after)
	}
}

// TestReplaceFileModes checks the modes of files. A new file gets the mode that the umask leaves. A file that replaces
// another is never readable for users who could not read the old one. In the end, all users who could read the old one
// can read it.
func TestReplaceFileModes(t *testing.T) {
	old := unix.Umask(0o027)
	defer unix.Umask(old)
	dir := t.TempDir()
	modeOf := func(path string) fs.FileMode {
		info, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		return info.Mode()
	}
	path := filepath.Join(dir, "new")
	if err := ReplaceFile(path, nil, fileContent("new")); err != nil {
		t.Fatal(err)
	}
	if mode := modeOf(path); mode != 0o640 {
		t.Errorf("with umask 027 a new file has mode %v", mode)
	}
	for _, mode := range []fs.FileMode{0o600, 0o644, 0o660, 0o666, 0o640, 0o604, 0o400, 0o444} {
		path := filepath.Join(dir, fmt.Sprintf("%o", mode))
		if err := os.WriteFile(path, nil, mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		err := ReplaceFile(path, nil, func(f *os.File) error {
			if info, err := f.Stat(); err != nil || info.Mode()&0o077&^mode != 0 {
				t.Errorf("while it is written, one of mode %v has %v; %v", mode, info.Mode(), err)
			}
			return fileContent("new")(f)
		})
		if err != nil {
			t.Error(err)
		}
		if got := modeOf(path); got != mode {
			t.Errorf("mode %v became %v", mode, got)
		}
		holds(t, path, "new")
	}
}
