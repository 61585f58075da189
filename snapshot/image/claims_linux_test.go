package image

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// tempFile creates and opens a file.
func tempFile(t *testing.T, flag int) *os.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(path, make([]byte, 8192), 0o600); err != nil {
		t.Fatal(err)
	}
	return openFile(t, path, flag)
}

func openFile(t *testing.T, path string, flag int) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, flag, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// TestLocks checks which locks of others prevent reading, and which prevent writing.
func TestLocks(t *testing.T) {
	type lock struct {
		kind   int16
		off, n int64
	}
	for name, c := range map[string]struct {
		locks       []lock
		flock       int
		read, write bool // what the locks prevent
	}{
		"none":                     {},
		"QEMU reads":               {locks: []lock{{unix.F_RDLCK, 100, 1}, {unix.F_RDLCK, 201, 1}, {unix.F_RDLCK, 203, 1}}, write: true},
		"QEMU writes":              {locks: []lock{{unix.F_RDLCK, 100, 2}, {unix.F_RDLCK, 103, 1}, {unix.F_RDLCK, 201, 1}, {unix.F_RDLCK, 203, 1}}, read: true, write: true},
		"QEMU writes, shared":      {locks: []lock{{unix.F_RDLCK, 100, 2}}, read: true, write: true},
		"QEMU resizes":             {locks: []lock{{unix.F_RDLCK, 103, 1}}, read: true, write: true},
		"QEMU allows no reading":   {locks: []lock{{unix.F_RDLCK, 200, 1}}, read: true, write: true},
		"a reader of all of it":    {locks: []lock{{unix.F_RDLCK, 0, 0}}, write: true},
		"a reader of its header":   {locks: []lock{{unix.F_RDLCK, 0, 512}}, write: true},
		"a writer of all of it":    {locks: []lock{{unix.F_WRLCK, 0, 0}}, read: true, write: true},
		"a writer of a byte of it": {locks: []lock{{unix.F_WRLCK, 8000, 1}}, read: true, write: true},
		"flock, shared":            {flock: unix.LOCK_SH, write: true},
		"flock, exclusive":         {flock: unix.LOCK_EX, read: true, write: true},
	} {
		t.Run(name, func(t *testing.T) {
			f := tempFile(t, os.O_RDWR)
			other := openFile(t, f.Name(), os.O_RDWR)
			for _, l := range c.locks {
				if err := control(int(other.Fd()), unix.F_OFD_SETLK, &unix.Flock_t{Type: l.kind, Start: l.off, Len: l.n}); err != nil {
					t.Fatal(err)
				}
			}
			if c.flock != 0 { // by another process: this process's own locks do not count
				lockElsewhere(t, f.Name(), c.flock)
			}
			for _, looked := range []*os.File{f, openFile(t, f.Name(), os.O_RDONLY)} {
				if got := (System{}).isLocked(looked, false); got != c.read {
					t.Errorf("in the way of reading: %v", got)
				}
				if got := (System{}).isLocked(looked, true); got != c.write {
					t.Errorf("in the way of writing: %v", got)
				}
			}
			d, err := Open(f.Name())
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			if d.IsLocked() != c.read {
				t.Errorf("opened, it is locked: %v", d.IsLocked())
			}
			other.Close()
			if err := d.Changed(); errors.Is(err, ErrModified) != c.read {
				t.Errorf("the lock was released, and it says %v", err)
			}
			if uses, err := Claims(d); err != nil || slices.ContainsFunc(uses, func(u Use) bool { return u.Kind == UseLock }) != c.read {
				t.Errorf("it is used by %v, %v", uses, err)
			}
		})
	}
}

// lockElsewhere makes another process hold a lock on a whole file until the test ends.
func lockElsewhere(t *testing.T, path string, how int) {
	t.Helper()
	f := openFile(t, path, os.O_RDONLY)
	if err := unix.Flock(int(f.Fd()), how); err != nil {
		t.Fatal(err)
	}
	holder(t, f)
	f.Close()
}

// holder starts a process that has files open.
func holder(t *testing.T, files ...*os.File) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("cat")
	cmd.ExtraFiles = files
	stdin, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		_ = cmd.Wait()
	})
	return cmd
}

// TestLockAppears checks that Changed returns ErrModified if a lock appears while a disk is read.
func TestLockAppears(t *testing.T) {
	f := tempFile(t, os.O_RDWR)
	d, err := Open(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := d.Changed(); err != nil {
		t.Fatal(err)
	}
	if err := control(int(f.Fd()), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_RDLCK, Start: 100, Len: 2}); err != nil {
		t.Fatal(err)
	}
	if err := d.Changed(); !errors.Is(err, ErrModified) {
		t.Errorf("a machine has started, and it says %v", err)
	}
}

// TestLock checks that a locked file is locked for others, and cannot be locked twice.
func TestLock(t *testing.T) {
	f := tempFile(t, os.O_RDWR)
	if err := (System{}).Lock(f); err != nil {
		t.Fatal(err)
	}
	other := openFile(t, f.Name(), os.O_RDWR)
	if s := (System{}); !s.isLocked(other, false) || !s.isLocked(other, true) || s.isLocked(f, true) {
		t.Error("others do not see the lock, or its owner does")
	}
	if err := (System{}).Lock(other); !errors.Is(err, ErrInUse) {
		t.Errorf("it can be locked twice: %v", err)
	}
	if err := control(int(other.Fd()), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_RDLCK, Start: 100, Len: 1}); err == nil {
		t.Error("QEMU can start on it")
	}
}

// TestClaims checks that Claims names exactly the programs that have a file open for writing, under any of its names.
func TestClaims(t *testing.T) {
	f := tempFile(t, os.O_RDWR)
	hard := f.Name() + ".hard"
	if err := os.Link(f.Name(), hard); err != nil {
		t.Fatal(err)
	}
	claims := func(toWrite bool) (all []string) {
		uses, err := System{}.Claims(toWrite, f)
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range uses {
			all = append(all, u.String())
		}
		return all
	}
	holder(t, openFile(t, f.Name(), os.O_RDONLY), openFile(t, "/dev/null", os.O_RDWR))
	if got := claims(true); len(got) > 0 { // this process has it open for writing
		t.Errorf("%q use it, and no program does", got)
	}
	writer := holder(t, openFile(t, hard, os.O_WRONLY))
	want := []string{fmt.Sprintf("%s is open for writing in cat (process %d)", f.Name(), writer.Process.Pid)}
	for _, toWrite := range []bool{false, true} {
		if got := claims(toWrite); !slices.Equal(got, want) {
			t.Errorf("%q use it, not %q", got, want)
		}
	}
	locked := openFile(t, f.Name(), os.O_RDWR)
	if err := control(int(locked.Fd()), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_RDLCK, Start: 100, Len: 2}); err != nil {
		t.Fatal(err)
	}
	machine := holder(t, locked)
	locked.Close()
	want = append(want, fmt.Sprintf("%s is locked by cat (process %d)", f.Name(), machine.Process.Pid))
	got := claims(false)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%q use it, not %q", got, want)
	}
}

// TestClaimsMade uses made-up processes: a shared writable map counts, a descriptor with O_PATH does not.
func TestClaimsMade(t *testing.T) {
	f := tempFile(t, os.O_RDONLY)
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	s := newFakeSystem(t)
	process := func(pid, flags, mapping string) {
		dir := "proc/" + pid
		s.file(dir+"/comm", "prog"+pid+"\n")
		s.file(dir+"/fdinfo/3", "pos:\t0\nflags:\t"+flags+"\nmnt_id:\t27\nino:\t"+fmt.Sprint(st.Ino)+"\n")
		s.file(dir+"/maps", mapping)
		for link, to := range map[string]string{"fd/3": f.Name(), "root": "/"} {
			if err := os.MkdirAll(filepath.Dir(s.at(dir, link)), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(to, s.at(dir, link)); err != nil {
				t.Fatal(err)
			}
		}
	}
	maps := func(perms string) string {
		return fmt.Sprintf("7f1c4a000000-7f1c4a100000 %s 00000000 fe:00 %d    %s\n", perms, st.Ino, f.Name())
	}
	process("11", "02100000", maps("r--s"))
	process("12", "02100000", maps("rw-p"))
	process("13", "02100000", maps("rw-s"))
	process("14", "02100001", "")
	process("15", "012000002", "") // O_PATH
	process("16", "0100002", "")
	uses, err := s.Claims(true, f)
	if err != nil {
		t.Fatal(err)
	}
	var by []string
	for _, u := range uses {
		by = append(by, u.By)
	}
	if want := []string{"prog13 (process 13)", "prog14 (process 14)", "prog16 (process 16)"}; !slices.Equal(by, want) {
		t.Errorf("%q use it, not %q", by, want)
	}
}

// TestClaimsPass checks that a program that has a file open only for a moment does not count.
func TestClaimsPass(t *testing.T) {
	f := tempFile(t, os.O_RDONLY)
	s := newFakeSystem(t)
	dir := s.at("proc/17")
	s.file("proc/17/fdinfo/3", "flags:\t02100002\n")
	err := os.Mkdir(filepath.Join(dir, "fd"), 0o700)
	if err == nil {
		err = os.Symlink(f.Name(), filepath.Join(dir, "fd/3"))
	}
	if err == nil {
		err = unix.Mkfifo(filepath.Join(dir, "comm"), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	looked := make(chan error)
	// The first look finds the process, which ends before that look is complete.
	go func() {
		comm, err := os.OpenFile(filepath.Join(dir, "comm"), os.O_WRONLY, 0)
		if err == nil {
			err = errors.Join(os.RemoveAll(dir), comm.Close())
		}
		looked <- err
	}()
	uses, err := s.Claims(true, f)
	if err := errors.Join(err, <-looked); err != nil || len(uses) > 0 {
		t.Errorf("it is used by %v, %v", uses, err)
	}
}

// TestOwnFlock checks that an inherited lock, as from flock(1), counts as this process's own.
func TestOwnFlock(t *testing.T) {
	f := tempFile(t, os.O_RDWR)
	given := openFile(t, f.Name(), os.O_RDONLY)
	if err := unix.Flock(int(given.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if s := (System{}); s.isLocked(f, true) || s.isLocked(f, false) {
		t.Error("its own lock blocks it")
	}
}

func TestVMwareLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a[b]*.vmdk")
	for _, p := range []string{path, path + ".lck/M12345.lck"} {
		if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
			t.Fatal(err)
		}
		if name := vmwareLock(path); name != "" {
			t.Errorf("a lock where there is none: %s", name)
		}
		if err := os.WriteFile(p, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if name := vmwareLock(path); name != path+".lck" {
		t.Errorf("the lock is %q", name)
	}
	uses, err := System{}.Claims(false, openFile(t, path, os.O_RDONLY))
	if err != nil || len(uses) != 1 || !strings.Contains(uses[0].String(), "is locked by VMware, by "+path+".lck") {
		t.Errorf("it is used by %v, %v", uses, err)
	}
}
