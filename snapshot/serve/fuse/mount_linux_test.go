package fuse

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"platter/snapshot/image"
	"platter/snapshot/image/oracle"
)

// open opens a file for as long as the test runs, or until it is closed.
func open(t testing.TB, path string) *os.File {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// isMounted reports whether something is mounted on a folder.
func isMounted(t testing.TB, dir string) bool {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Contains(string(mounts), " "+dir+" ")
}

func TestUnmountFromOutside(t *testing.T) {
	for _, command := range [][]string{{"umount"}, {"fusermount3", "-u"}, {"umount", "-l"}} {
		path, s := mountDisk(t, image.Mem{Data: []byte("data")}, Options{})
		waited := make(chan error, 1)
		go func() { waited <- s.Wait(context.Background()) }()
		oracle.Run(t, command[0], append(command[1:], filepath.Dir(path))...)
		if err := <-waited; err != nil {
			t.Errorf("%q: %v", command, err)
		}
		if err := errors.Join(s.Unmount(), s.Close(), s.Wait(t.Context())); err != nil {
			t.Errorf("after %q: %v", command, err)
		}
		if isMounted(t, filepath.Dir(path)) {
			t.Errorf("%q did not unmount", command)
		}
	}
}

func TestContextEnds(t *testing.T) {
	path, s := mountDisk(t, image.Mem{Data: []byte("data")}, Options{})
	open(t, path).Close()
	ctx, cancel := context.WithCancel(t.Context())
	waited := make(chan error, 1)
	go func() { waited <- s.Wait(ctx) }()
	cancel()
	if err := <-waited; err != nil || isMounted(t, filepath.Dir(path)) {
		t.Errorf("when ctx ended: %v", err)
	}
}

// TestBusy checks what happens to a folder that is in use when it is to be unmounted: first nothing, then it is out of
// sight and served until the use ends, or is cut off.
func TestBusy(t *testing.T) {
	data := noise(1<<20, 1)
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	for _, how := range []string{"the use ends", "the context of a second Wait", "Close"} {
		path, s := mountDisk(t, image.Mem{Data: data}, Options{})
		f := open(t, path)
		if err := s.Unmount(); !errors.Is(err, ErrBusy) || !isMounted(t, filepath.Dir(path)) {
			t.Fatalf("unmounting what is in use: %v", err)
		}
		if err := s.Wait(ended); !errors.Is(err, ErrBusy) || isMounted(t, filepath.Dir(path)) {
			t.Fatalf("the context ends while it is in use: %v", err)
		}
		if err := s.Unmount(); !errors.Is(err, ErrBusy) {
			t.Errorf("unmounting what is out of sight: %v", err)
		}
		if got, err := io.ReadAll(f); err != nil || string(got) != string(data) {
			t.Errorf("out of sight: read %d bytes, %v", len(got), err)
		}
		var err error
		switch how {
		case "the use ends":
			f.Close()
			err = s.Wait(context.Background())
		case "Close":
			err = s.Close()
		default:
			err = s.Wait(ended)
		}
		if err != nil {
			t.Errorf("%s: %v", how, err)
		}
		if how == "the use ends" {
			continue
		}
		if _, err := unix.Seek(int(f.Fd()), 0, unix.SEEK_HOLE); !errors.Is(err, unix.ENOTCONN) {
			t.Errorf("%s: using what is cut off: %v", how, err)
		}
	}
}

// TestForced has umount cut the connection while a read hangs: the read ends, and nothing stays mounted.
func TestForced(t *testing.T) {
	disk := &damaged{Mem: image.Mem{Data: noise(4096, 1)}, held: make(chan struct{}), reading: make(chan struct{}, 9)}
	path, s := mountDisk(t, disk, Options{})
	dir := filepath.Dir(path)
	f := open(t, path)
	failed := make(chan error, 1)
	go func() {
		_, err := f.ReadAt(make([]byte, 1), 0)
		failed <- err
	}()
	<-disk.reading
	_ = exec.Command("umount", "-f", dir).Run() // it is in use, so that it stays mounted
	if err := errors.Join(s.Wait(t.Context()), s.Close()); err != nil || isMounted(t, dir) {
		t.Errorf("after umount -f: %v", err)
	}
	if err := <-failed; err == nil {
		t.Error("the read did not fail")
	}
}

// TestClosesWhatIsOpen checks that disks are closed even if the connection is cut.
func TestClosesWhatIsOpen(t *testing.T) {
	var closed atomic.Int64
	path, s := mountDisk(t, &closing{image.Mem{Data: []byte("data")}, &closed}, Options{})
	open(t, path)
	if err := s.Close(); err != nil || closed.Load() != 1 {
		t.Errorf("closed %d times, %v", closed.Load(), err)
	}
}

// TestSharedDisk checks that the handles of a file share its disk, which is closed with the last.
func TestSharedDisk(t *testing.T) {
	c, v := newShelf(), Version{ID: "v"}
	var opened, closed atomic.Int64
	file := mem("disk.img", noise(1<<20, 1))
	file.Open = func(context.Context) (image.Disk, error) {
		opened.Add(1)
		return &closing{image.Mem{Data: noise(1<<20, 1)}, &closed}, nil
	}
	c.add("disk", v, file)
	dir, s := mount(t, c, Options{Version: &v})
	first, second := open(t, dir+"/disk.img"), open(t, dir+"/disk.img")
	first.Close()
	if _, err := second.ReadAt(make([]byte, 1), 0); err != nil || opened.Load() != 1 || closed.Load() != 0 {
		t.Errorf("opened %d times, closed %d times, %v", opened.Load(), closed.Load(), err)
	}
	second.Close()
	if err := s.Unmount(); err != nil || opened.Load() != 1 || closed.Load() != 1 {
		t.Errorf("at last: opened %d times, closed %d times, %v", opened.Load(), closed.Load(), err)
	}
}

// TestDeadMount kills the process that serves a folder.
func TestDeadMount(t *testing.T) {
	mount(t, newShelf(), Options{}) // skips where it cannot be done
	dir := t.TempDir()
	c, says := start(t, nil, os.Args[0], "serve", "FUSE_TEST_DIR="+dir)
	if says != "mounted" {
		t.Fatal(says)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	if data, err := os.ReadFile(dir + "/disk/latest/disk.img"); string(data) != "served by a child\n" {
		t.Errorf("read %q, %v", data, err)
	}
	if _, err := Mount(t.Context(), dir, newShelf(), Options{}); !errors.Is(err, ErrMounted) {
		t.Errorf("mounting on a mount: %v", err)
	}
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = c.Wait()
	_, err := Mount(t.Context(), dir, newShelf(), Options{})
	if !errors.Is(err, ErrDeadMount) || !strings.Contains(err.Error(), "fusermount3 -u "+dir) {
		t.Errorf("mounting on a dead mount: %v", err)
	}
	oracle.Run(t, "fusermount3", "-u", dir)
	s, err := Mount(t.Context(), dir, newShelf(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if mounts, err := os.ReadFile("/proc/self/mounts"); err != nil || !strings.Contains(string(mounts), "\nplatter "+dir+" ") {
		t.Errorf("without a name, the mounts are %s", mounts)
	}
	if err := s.Unmount(); err != nil {
		t.Error(err)
	}
}

// TestUser mounts without being root, by fusermount3.
func TestUser(t *testing.T) {
	mount(t, newShelf(), Options{}) // skips where it cannot be done
	if os.Geteuid() != 0 {
		oracle.Lacking(t, "only root can become another user")
	}
	info, err := os.Stat(oracle.Run(t, "which", fusermount))
	if err != nil || info.Mode()&fs.ModeSetuid == 0 {
		oracle.Lacking(t, "%s is not set-user-ID root: %v", fusermount, err)
	}
	node, ok := ownNode(t, "/dev/fuse")
	if !ok {
		return
	}
	const id = 65534
	base, err := os.MkdirTemp("", "fuse-user-") // other than t.TempDir's, its parents are open to all
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(base) })
	program, dir := filepath.Join(base, "program"), filepath.Join(base, "dir")
	oracle.Run(t, "cp", os.Args[0], program)
	if err := errors.Join(os.Mkdir(dir, 0o755), os.Chmod(base, 0o755), os.Chmod(program, 0o755), os.Chown(dir, id, id)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	user := &syscall.Credential{Uid: id, Gid: id}
	if _, says := start(t, user, program, "serve", "FUSE_TEST_DIR="+dir); !strings.Contains(says, ErrNoRight.Error()+": open /dev/fuse") {
		t.Errorf("no right to the device: %s", says)
	}
	if err := os.Chmod(node, 0o666); err != nil {
		t.Fatal(err)
	}
	c, says := start(t, user, program, "serve", "FUSE_TEST_DIR="+dir)
	if says != "mounted" {
		t.Fatal(says)
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if want := `a,b\134c ` + dir + " fuse.platter ro,nosuid,nodev,noexec,noatime,user_id=65534,group_id=65534,default_permissions,max_read=1048576 "; err != nil || !strings.Contains(string(mounts), want) {
		t.Errorf("no %q in\n%s", want, mounts)
	}
	read := exec.Command("sh", "-c", "stat -c %u:%g:%a \"$1\"/disk/latest/disk.img; cat \"$1\"/disk/latest/disk.img", "sh", dir)
	read.SysProcAttr = &syscall.SysProcAttr{Credential: user}
	if out, err := read.CombinedOutput(); string(out) != "65534:65534:400\nserved by a child\n" || err != nil {
		t.Errorf("the user reads %q, %v", out, err)
	}
	if _, err := os.ReadDir(dir); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("another user looks into it: %v", err)
	}
	if rest := c.end(t); rest != "" || isMounted(t, dir) {
		t.Errorf("at the end: %q", rest)
	}
	if err := os.Chown(dir, 0, 0); err != nil {
		t.Fatal(err)
	}
	if _, says := start(t, user, program, "serve", "FUSE_TEST_DIR="+dir); !strings.Contains(says, ErrNoRight.Error()) {
		t.Errorf("a folder of another user: %s", says)
	}
	if _, says := start(t, user, program, "serve", "FUSE_TEST_DIR="+dir, "FUSE_TEST_OTHERS=1"); !strings.Contains(says, "user_allow_other") {
		t.Errorf("with other users: %s", says)
	}
}

// ownNode reports whether the test has a node of its own for a device, at the device's path. If not, it runs the test
// again where that is so, in another mount namespace.
func ownNode(t *testing.T, device string) (node string, ok bool) {
	t.Helper()
	const marker = "FUSE_TEST_NODE"
	if os.Getenv(marker) == "" {
		again := exec.Command(os.Args[0], "-test.v", "-test.run", "^"+t.Name()+"$")
		again.Env = append(os.Environ(), marker+"=1")
		again.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
		out, err := again.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
			t.Errorf("%v:\n%s", err, out)
		}
		return "", false
	}
	var st unix.Stat_t
	if err := unix.Stat(device, &st); err != nil {
		t.Fatal(err)
	}
	node = filepath.Join(t.TempDir(), "node")
	if err := errors.Join(unix.Mknod(node, unix.S_IFCHR|0o600, int(st.Rdev)), unix.Mount(node, device, "", unix.MS_BIND, "")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(device, unix.MNT_DETACH) })
	return node, true
}

// TestAllowOther checks that other users may read, and that modes say so.
func TestAllowOther(t *testing.T) {
	c, v := newShelf(), Version{ID: "v"}
	c.add("disk", v, mem("disk.img", []byte("data")))
	dir, _ := mount(t, c, Options{Version: &v, AllowOther: true})
	for path, want := range map[string]fs.FileMode{dir: fs.ModeDir | 0o555, dir + "/disk.img": 0o444} {
		if info, err := os.Stat(path); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
	if os.Geteuid() != 0 {
		oracle.Lacking(t, "only root can become another user")
	}
	for _, parent := range []string{filepath.Dir(dir), dir} {
		_ = os.Chmod(parent, 0o755) // t.TempDir keeps other users out
	}
	read := exec.Command("cat", dir+"/disk.img")
	read.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if out, err := read.CombinedOutput(); string(out) != "data" || err != nil {
		t.Errorf("another user reads %q, %v", out, err)
	}
}

func TestChecks(t *testing.T) {
	dir := t.TempDir()
	file, full, link := filepath.Join(dir, "file"), filepath.Join(dir, "full"), filepath.Join(dir, "link")
	empty, secret := filepath.Join(dir, "empty"), filepath.Join(dir, "secret")
	config := filepath.Join(dir, "fuse.conf")
	err := errors.Join(
		os.WriteFile(file, nil, 0o600), os.MkdirAll(full+"/x", 0o700), os.Mkdir(empty, 0o700), os.Symlink(empty, link),
		os.WriteFile(config, []byte("# user_allow_other\n#x\n"), 0o600), os.WriteFile(secret, []byte("\tuser_allow_other \n"), 0o600),
	)
	if err != nil {
		t.Fatal(err)
	}
	there := func(string) (string, error) { return "/bin/true", nil }
	absent := func(string) (string, error) { return "", exec.ErrNotFound }
	root, user := system{file, config, true, absent}, system{file, config, false, there}
	for _, c := range []struct {
		name   string
		system system
		dir    string
		opts   Options
		want   error
	}{
		{"root", root, empty, Options{}, nil},
		{"root, others", root, empty, Options{AllowOther: true}, nil},
		{"a user", user, empty, Options{}, nil},
		{"a link", user, link, Options{}, nil},
		{"nothing", root, filepath.Join(dir, "nothing"), Options{}, fs.ErrNotExist},
		{"a file", root, file, Options{}, ErrNotFolder},
		{"below a file", root, file + "/x", Options{}, ErrNotFolder},
		{"a full folder", root, full, Options{}, ErrNotEmpty},
		{"a mount point", root, "/proc", Options{}, ErrMounted},
		{"no device", system{dir + "/no", config, true, there}, empty, Options{}, ErrNoFUSE},
		{"no device for a user", system{dir + "/no", config, false, there}, empty, Options{}, ErrNoFUSE},
		{"no driver", system{"/proc/self/mem/x", config, true, there}, empty, Options{}, ErrNoFUSE},
		{"no fusermount3", system{file, config, false, absent}, empty, Options{}, ErrNoFusermount},
		{"a user, others", user, empty, Options{AllowOther: true}, ErrAllowOther},
		{"a user, others, no file", system{file, dir + "/no", false, there}, empty, Options{AllowOther: true}, ErrAllowOther},
		{"a user, others allowed", system{file, secret, false, there}, empty, Options{AllowOther: true}, nil},
		{"a user, others, file not readable", system{file, dir, false, there}, empty, Options{AllowOther: true}, nil},
	} {
		path, err := c.system.check(c.dir, c.opts)
		if !errors.Is(err, c.want) || err == nil && path != empty {
			t.Errorf("%s: %q, %v", c.name, path, err)
		}
		if err != nil && (!strings.HasPrefix(err.Error(), "mount "+c.dir+": ") || strings.Contains(err.Error(), "%!")) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
