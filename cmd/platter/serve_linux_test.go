package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"platter/snapshot/image/oracle"
)

// needMounts makes a test Lacking without root and FUSE.
func needMounts(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		oracle.Lacking(t, "only root can mount")
	}
	if _, err := os.Stat("/dev/fuse"); err != nil {
		oracle.Lacking(t, "no FUSE: %v", err)
	}
}

// mount starts 'mount' for a version, or "" for all, and returns when the folder shows it. The test unmounts what is left.
func (s *site) mount(version string, flags ...string) (p *process, dir string) {
	s.t.Helper()
	needMounts(s.t)
	dir, err := os.MkdirTemp(s.dir, "mounted")
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) }) // after the process has ended
	args := []string{"mount", version, dir}
	if version == "" {
		args = []string{"mount", dir}
	}
	p = s.start(nil, append(args, flags...)...)
	p.says("mounted on")
	return p, dir
}

// says waits until the process has said something on standard error.
func (p *process) says(words string) {
	p.t.Helper()
	waitFor(p.t, words, func() bool {
		if strings.Contains(p.stderr.String(), words) {
			return true
		}
		if err := p.Process.Signal(syscall.Signal(0)); errors.Is(err, os.ErrProcessDone) || isZombie(p.Process.Pid) {
			p.t.Fatalf("%v has ended, and said\n%s", p.Args, p.stderr.String())
		}
		return false
	})
}

// isZombie reports whether a child has ended.
func isZombie(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && bytes.Contains(stat, []byte(") Z "))
}

// stop sends a signal to a process that serves, which ends with success, and checks that its leases are removed.
func (s *site) stop(p *process, sig syscall.Signal) {
	s.t.Helper()
	if err := p.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
	p.ends(0, "")
	s.atRest()
}

// atRest checks that no lease is left.
func (s *site) atRest() {
	s.t.Helper()
	if left := filesIn(s.t, s.path("repo/work")); len(left) > 0 {
		s.t.Errorf("it left %q in work/", left)
	}
}

// nbd starts 'nbd' and returns what makes the URI of an export.
func (s *site) nbd(args ...string) (p *process, uri func(export string) string) {
	s.t.Helper()
	dir, err := os.MkdirTemp("", "platter") // the path of a socket is short
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "socket")
	p = s.start(nil, append([]string{"nbd", "--socket", socket}, args...)...)
	p.says("Ctrl-C ends it")
	return p, func(export string) string { return "nbd+unix:///" + url.PathEscape(export) + "?socket=" + socket }
}

// scribble overwrites bytes of a file that exists.
func scribble(t *testing.T, path string, data []byte, off int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt(data, off)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestServeSignals ends mount and nbd by signals. A client that is connected does not keep nbd from ending.
func TestServeSignals(t *testing.T) {
	s := newSite(t)
	s.must("backup", s.disk("disk", 1<<20, 1, "random"), "--name", "disk")
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		p, dir := s.mount("disk")
		if err := sameFiles(s.path("disk"), filepath.Join(dir, "disk.img")); err != nil {
			t.Error(err)
		}
		if left := filesIn(t, s.path("repo/work")); len(left) == 0 {
			t.Error("nothing says that the version is being read")
		}
		s.stop(p, sig)
		if left := filesIn(t, dir); len(left) > 0 {
			t.Errorf("%v left %q", sig, left)
		}
		p, uri := s.nbd("disk")
		boot(t, uri(""), "-r", "-f", "raw") // a client that stays connected
		s.stop(p, sig)
		socket := uri("")[strings.Index(uri(""), "=")+1:]
		if _, err := os.Lstat(socket); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%v left the socket: %v", sig, err)
		}
	}
	p, dir := s.mount("disk")
	oracle.Run(t, "umount", dir)
	p.ends(0, "")
	s.atRest()
}

// TestMountBusy ends a mount while a loop device uses it. What is written through the device from then on is saved.
func TestMountBusy(t *testing.T) {
	needMounts(t)
	s := newSite(t)
	disk := s.disk("disk", 4<<20, 1, "random")
	s.must("backup", disk, "--name", "disk")
	p, dir := s.mount("disk", "--save", "disk")
	node := strings.TrimSpace(oracle.Run(t, "losetup", "--find", "--show", filepath.Join(dir, "disk.img")))
	attached := true
	defer func() {
		if attached {
			_ = exec.Command("losetup", "--detach", node).Run()
		}
	}()
	first, second := bytes.Repeat([]byte("one "), 1024), bytes.Repeat([]byte("two "), 1024)
	scribble(t, node, first, 64<<10)
	if err := p.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	p.says("have files of " + dir + " open")
	p.says("A second Ctrl-C")
	if left := filesIn(t, dir); len(left) > 0 {
		t.Errorf("the folder still shows %q", left)
	}
	scribble(t, node, second, 1<<20)
	oracle.Run(t, "losetup", "--detach", node)
	attached = false
	p.ends(0, "")
	s.atRest()
	scribble(t, disk, first, 64<<10)
	scribble(t, disk, second, 1<<20)
	s.restores("disk", disk)
}

// TestMountDead kills a mount. The folder that it leaves is recognised, and can be used again.
func TestMountDead(t *testing.T) {
	s := newSite(t)
	s.must("backup", s.disk("disk", 1<<20, 1, "random"), "--name", "disk")
	p, dir := s.mount("disk")
	again := s.start(nil, "mount", "disk", dir)
	again.ends(11, "something is mounted there already; unmount it, or choose another folder")
	if err := p.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	p.wait()
	again = s.start(nil, "mount", "disk", dir)
	again.ends(1, "the program that served the file system mounted there has ended; end the mount with")
	if want := "umount " + dir; !strings.Contains(again.stderr.String(), want) {
		t.Errorf("it says %q, and not %q", again.stderr.String(), want)
	}
	oracle.Run(t, "umount", dir)
	s.must("mount", "disk", dir, "--run", "test -s $dir/disk.img")
}

// TestServeReadOnly serves from a repository that cannot be written to. What needs a version at the end is refused first.
func TestServeReadOnly(t *testing.T) {
	needMounts(t)
	s := newSite(t)
	disk := s.disk("disk", 1<<20, 1, "random")
	s.must("backup", disk, "--name", "disk")
	ro := s.path("ro")
	if err := os.Mkdir(ro, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(unix.Mount(s.repo, ro, "", unix.MS_BIND, ""), unix.Mount("", ro, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, "")); err != nil {
		oracle.Lacking(t, "bind mount: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(ro, unix.MNT_DETACH) })
	s.repo = ro
	p := s.start(nil, "nbd", "disk", "--save", "disk", "--run", "echo serving")
	p.ends(1, "--save: the repository cannot be written to: ")
	if p.stdout.String() != "" {
		t.Errorf("it served: %s", p.stdout.String())
	}
	m, dir := s.mount("disk", "--writable")
	scribble(t, filepath.Join(dir, "disk.img"), []byte("changed"), 0)
	if err := sameFiles(disk, filepath.Join(dir, "disk.img")); err == nil {
		t.Error("it was not written to")
	}
	s.stop(m, syscall.SIGTERM)
}
