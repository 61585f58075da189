package restore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"platter/snapshot/image/oracle"
)

// TestAbandonedFiles checks that a restore removes the file that a killed process left, and no other.
func TestAbandonedFiles(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "disk")
	others := []string{
		".disk.partial-0123abcg", ".disk.partial-0123abcdef", ".disk.partial-", ".disk2.partial-0123abcd", "disk.partial-0123abcd", ".Disk.partial-0123abcd",
	}
	for _, name := range append(others, ".disk.partial-0123abcd") {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, ".disk.partial-00000000"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("disk", filepath.Join(dir, ".disk.partial-00000001")); err != nil {
		t.Fatal(err)
	}
	others = append(others, ".disk.partial-00000000", ".disk.partial-00000001")
	err := ReplaceFile(path, nil, func(f *os.File) error {
		if got := names(t, dir); strings.Contains(got, ".disk.partial-0123abcd ") {
			t.Errorf("it is still there: %s", got)
		}
		// Another process writes the same file meanwhile and does not touch ours.
		if err := ReplaceFile(path, nil, fileContent("other")); err != nil {
			t.Error(err)
		}
		return fileContent("own")(f)
	})
	if err != nil {
		t.Fatal(err)
	}
	holds(t, path, "own")
	for _, name := range others {
		if _, err := os.Lstat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
}

// acl returns an access control list as Linux stores it: owner rw, user 12345 rw, group as given, mask rw, others
// nothing.
func acl(group uint16) []byte {
	b := binary.LittleEndian.AppendUint32(nil, 2)
	for _, e := range [][3]uint32{{1, 6, 1<<32 - 1}, {2, 6, 12345}, {4, uint32(group), 1<<32 - 1}, {16, 6, 1<<32 - 1}, {32, 0, 1<<32 - 1}} {
		b = binary.LittleEndian.AppendUint16(b, uint16(e[0]))
		b = binary.LittleEndian.AppendUint16(b, uint16(e[1]))
		b = binary.LittleEndian.AppendUint32(b, e[2])
	}
	return b
}

// TestReplaceFileLists checks that a file keeps its access control list, and that its folder's list does not widen
// access.
func TestReplaceFileLists(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "disk")
	if err := os.WriteFile(path, nil, 0o640); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setxattr(dir, "system.posix_acl_default", acl(6), 0); err != nil {
		oracle.Lacking(t, "the file system has no access control lists: %v", err)
	}
	list := func() []byte {
		value := make([]byte, 4096)
		n, err := unix.Lgetxattr(path, accessList, value)
		if err != nil && !errors.Is(err, unix.ENODATA) {
			t.Fatal(err)
		}
		return value[:max(n, 0)]
	}
	if err := ReplaceFile(path, nil, fileContent("new")); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); len(list()) > 0 || err != nil || info.Mode() != 0o640 {
		t.Errorf("its folder gave it a list, or another mode: %v, %x", info.Mode(), list())
	}
	if err := unix.Setxattr(path, accessList, acl(4), 0); err != nil {
		t.Fatal(err)
	}
	if err := ReplaceFile(path, nil, fileContent("newer")); err != nil {
		t.Fatal(err)
	}
	if got := list(); !bytes.Equal(got, acl(4)) {
		t.Errorf("its list was %x and is %x", acl(4), got)
	}
	holds(t, path, "newer")
}

func TestReplaceFileOwners(t *testing.T) {
	if os.Getuid() != 0 {
		oracle.Lacking(t, "only root can give files away")
	}
	path := filepath.Join(t.TempDir(), "disk")
	for i := range 3 {
		if err := os.WriteFile(path, nil, 0o660); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(path, 64055+i, 108+i); err != nil {
			t.Fatal(err)
		}
		if err := ReplaceFile(path, nil, fileContent("new")); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if st := info.Sys().(*syscall.Stat_t); st.Uid != uint32(64055+i) || st.Gid != uint32(108+i) || info.Mode() != 0o640 && info.Mode() != 0o660 {
			t.Errorf("it belongs to %d:%d, %v", st.Uid, st.Gid, info.Mode())
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

// TestNewFileOnLongPath writes a file whose path has the maximum length.
func TestNewFileOnLongPath(t *testing.T) {
	dir := t.TempDir()
	const name = "x"
	for room := unix.PathMax - 1 - len("/"+name) - len(dir); room > 1; room = unix.PathMax - 1 - len("/"+name) - len(dir) {
		dir = filepath.Join(dir, strings.Repeat("d", min(200, room-1)))
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, name)
	for _, text := range []string{"one", "two"} {
		if err := ReplaceFile(path, nil, fileContent(text)); err != nil {
			t.Fatalf("a path of %d bytes: %v", len(path), err)
		}
		holds(t, path, text)
	}
	if got := names(t, dir); got != name {
		t.Errorf("there is %q", got)
	}
}

// TestReplaceFileOfOthers replaces files of another user and group without the right to change owners. Users whom the
// old group excluded stay excluded.
func TestReplaceFileOfOthers(t *testing.T) {
	if os.Getuid() != 0 {
		oracle.Lacking(t, "only root can be somebody else")
	}
	dir := t.TempDir()
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	for was, want := range map[os.FileMode]os.FileMode{0o600: 0o600, 0o640: 0o600, 0o660: 0o600, 0o644: 0o644, 0o664: 0o644, 0o604: 0o600, 0o666: 0o666} {
		path := filepath.Join(dir, "disk")
		err := os.WriteFile(path, nil, 0o600)
		if err = errors.Join(err, os.Chown(path, 777, 888), os.Chmod(path, was)); err != nil {
			t.Fatal(err)
		}
		func() {
			runtime.LockOSThread() // setfsuid applies to one thread
			defer runtime.UnlockOSThread()
			defer func() {
				if err := errors.Join(unix.Setfsgid(0), unix.Setfsuid(0)); err != nil {
					t.Fatal(err)
				}
			}()
			if err := errors.Join(unix.Setfsgid(12346), unix.Setfsuid(12345)); err != nil {
				t.Fatal(err)
			}
			if err := ReplaceFile(path, nil, fileContent("new")); err != nil {
				t.Error(err)
			}
		}()
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if st := info.Sys().(*syscall.Stat_t); st.Uid != 12345 || info.Mode() != want {
			t.Errorf("mode %v became %v, and it belongs to %d:%d", was, info.Mode(), st.Uid, st.Gid)
		}
		holds(t, path, "new")
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}
