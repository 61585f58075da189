//go:build unix

package store

import (
	"errors"
	"io/fs"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantNames(t *testing.T, l *Local, dir string, want ...string) {
	t.Helper()
	var got []string
	for info, err := range l.List(t.Context(), dir) {
		if err != nil {
			t.Fatal(err)
		}
		name := info.Name
		if info.Odd {
			name += " is odd"
		}
		got = append(got, name)
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("List(%q) = %q, want %q", dir, got, want)
	}
}

func TestModes(t *testing.T) {
	root := filepath.Join(t.TempDir(), "a", "b")
	must(t, openLocal(t, root, nil).Put(t.Context(), "packs/ab", nil))
	for name, want := range map[string]fs.FileMode{
		"../": fs.ModeDir | 0o700, ".": fs.ModeDir | 0o700, "packs": fs.ModeDir | 0o700, "packs/ab": 0o600,
	} {
		info, err := os.Stat(filepath.Join(root, name))
		must(t, err)
		if info.Mode() != want {
			t.Errorf("%s is %v, want %v", name, info.Mode(), want)
		}
	}
}

// TestLinks plays a NAS owner who puts links into the store, to files and folders inside and outside of it.
func TestLinks(t *testing.T) {
	outside, root := t.TempDir(), t.TempDir()
	must(t, os.WriteFile(filepath.Join(outside, "secret"), []byte("secret"), 0o600))
	l := openLocal(t, root, nil)
	must(t, l.Put(t.Context(), "packs/real", []byte("real")))
	for link, to := range map[string]string{
		"packs/in": "real", "packs/out": filepath.Join(outside, "secret"), "packs/broken": "none", "packs/loop": "../packs",
		"packs/.tmp-" + strings.Repeat("0", 32): "real", "elsewhere": outside, "twin": "packs",
	} {
		must(t, os.Symlink(to, filepath.Join(root, link)))
	}
	wantNames(t, l, "", "elsewhere is odd", "packs/.tmp-"+strings.Repeat("0", 32)+" is odd", "packs/broken is odd", "packs/in is odd",
		"packs/loop is odd", "packs/out is odd", "packs/real", "twin is odd")
	for info, err := range l.Leftovers(t.Context()) {
		t.Errorf("Leftovers yields %+v, %v", info, err)
	}
	for _, dir := range []string{"elsewhere", "twin", "packs/loop"} {
		for info, err := range l.List(t.Context(), dir) {
			if err == nil || errors.Is(err, fs.ErrNotExist) {
				t.Errorf("List(%s) yields %+v, %v; want an error: it must not look empty", dir, info, err)
			}
		}
	}
	for _, name := range []string{"packs/in", "packs/out", "packs/loop", "elsewhere/secret"} {
		if got, err := l.Get(t.Context(), name, 0, 9); err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Get(%s) = %q, %v", name, got, err)
		}
	}
	for _, name := range []string{"elsewhere/new", "elsewhere/deep/new", "elsewhere/secret"} {
		if err := l.Put(t.Context(), name, []byte("x")); err == nil {
			t.Errorf("Put(%s) wrote out of the store", name)
		}
	}
	if err := l.Delete(t.Context(), "elsewhere/secret"); err == nil {
		t.Error("Delete removed a file out of the store")
	}
	if _, err := l.fs.Create("packs/.tmp-" + strings.Repeat("0", 32)); !errors.Is(err, fs.ErrExist) {
		t.Errorf("making a temporary file where there is a link says %v", err)
	}
	must(t, l.Put(t.Context(), "packs/out", []byte("mine now"))) // replaces the link, does not follow it
	must(t, l.Delete(t.Context(), "packs/in"))
	wantNames(t, l, "packs", "packs/.tmp-"+strings.Repeat("0", 32)+" is odd", "packs/broken is odd", "packs/loop is odd", "packs/out", "packs/real")
	entries, err := os.ReadDir(outside)
	must(t, err)
	secret, err := os.ReadFile(filepath.Join(outside, "secret"))
	must(t, err)
	if len(entries) != 1 || string(secret) != "secret" {
		t.Errorf("outside the store there is now %v, and the secret is %q", entries, secret)
	}
}

// TestPipe reads a pipe: without O_NONBLOCK, opening it would wait for a writer forever.
func TestPipe(t *testing.T) {
	root := t.TempDir()
	must(t, unix.Mkfifo(filepath.Join(root, "pipe"), 0o600))
	l := openLocal(t, root, nil)
	wantNames(t, l, "", "pipe is odd")
	if got, err := l.Get(t.Context(), "pipe", 0, 1); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("Get of a pipe = %q, %v", got, err)
	}
}

func TestRootIsALink(t *testing.T) {
	real := t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	must(t, os.Symlink(real, link))
	must(t, openLocal(t, link, nil).Put(t.Context(), "packs/ab", []byte("x")))
	wantNames(t, openLocal(t, real, nil), "", "packs/ab")
	wantNames(t, openLocal(t, link, nil), "", "packs/ab")
}

// TestLinkRepeated repeats a Link, as a network file system does after it lost the answer. The second call succeeds
// too.
func TestLinkRepeated(t *testing.T) {
	root := t.TempDir()
	files := osFiles{root: root}
	for _, name := range []string{"mine", "other"} {
		must(t, os.WriteFile(filepath.Join(root, name), []byte("same bytes"), 0o600))
	}
	for range 2 {
		must(t, files.Link("mine", "name"))
	}
	if err := files.Link("other", "name"); !errors.Is(err, fs.ErrExist) || cannotLink(err) {
		t.Errorf("another file of the same bytes: %v, want fs.ErrExist", err)
	}
}

func TestCannotLink(t *testing.T) {
	for err, want := range map[error]bool{
		unix.EPERM: true, unix.EIO: true, unix.ENOTSUP: true, unix.ENOSYS: true, unix.EMLINK: true, unix.EXDEV: true, unix.EACCES: true,
		unix.EEXIST: false, unix.ENOSPC: false, unix.ENOENT: false, unix.EROFS: false,
	} {
		if got := cannotLink(&os.LinkError{Op: "linkat", Old: "a", New: "b", Err: err}); got != want {
			t.Errorf("%v: %t", err, got)
		}
	}
}

// TestUnreadable checks that an unreadable foreign folder is no error. An unreadable folder of the store's own is one:
// its files would seem deleted.
func TestUnreadable(t *testing.T) {
	if os.Getuid() == 0 {
		asUser(t)
		return
	}
	root := t.TempDir()
	l := openLocal(t, root, mine{})
	must(t, l.Put(t.Context(), "mine/file", nil))
	for _, dir := range []string{"theirs", "mine/theirs"} {
		must(t, os.Mkdir(filepath.Join(root, dir), 0))
	}
	wantNames(t, l, "", "mine/file", "mine/theirs is odd", "theirs is odd")
	if _, _, err := l.Sweep(t.Context(), time.Now()); err != nil {
		t.Error(err)
	}
	must(t, os.Mkdir(filepath.Join(root, "mine/too"), 0))
	failed := 0
	for _, list := range []iter.Seq2[Info, error]{l.List(t.Context(), ""), l.List(t.Context(), "mine"), l.List(t.Context(), "mine/too"), l.Leftovers(t.Context())} {
		for _, err := range list {
			if errors.Is(err, fs.ErrPermission) {
				failed++
			}
		}
	}
	if failed != 4 {
		t.Errorf("of 4 listings of a folder of its own that cannot be read, %d fail", failed)
	}
}

type mine struct{}

func (mine) Folder(name string) bool { return name == "mine" || name == "mine/too" }
func (mine) File(string) bool        { return false }

// asUser runs the test again as a user without root's rights.
func asUser(t *testing.T) {
	exe, folder := filepath.Join(t.TempDir(), "test"), t.TempDir()
	data, err := os.ReadFile(os.Args[0])
	must(t, err)
	must(t, os.WriteFile(exe, data, 0o755))
	for dir := filepath.Dir(exe); dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		must(t, os.Chmod(dir, 0o755))
	}
	must(t, os.Chmod(folder, 0o777))
	cmd := exec.CommandContext(t.Context(), exe, "-test.run=^"+t.Name()+"$")
	cmd.Dir, cmd.Env = folder, append(os.Environ(), "TMPDIR="+folder)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "PASS") {
		t.Errorf("as a user without rights: %v\n%s", err, out)
	}
}
