package fuse

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"platter/snapshot/image"
	"platter/snapshot/image/oracle"
)

// ext4 returns a file system that holds a file "data" of these bytes.
func ext4(t testing.TB, data []byte) []byte {
	t.Helper()
	dir := t.TempDir()
	files, img := filepath.Join(dir, "files"), filepath.Join(dir, "img")
	if err := os.Mkdir(files, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(files, "data"), data, 0o644); err != nil {
		t.Fatal(err)
	}
	oracle.Run(t, "mke2fs", "-q", "-t", "ext4", "-E", "lazy_itable_init=0,lazy_journal_init=0", "-d", files, img, "16M")
	disk, err := os.ReadFile(img)
	if err != nil {
		t.Fatal(err)
	}
	return disk
}

// loopMount mounts the file system in a file through a loop device. end unmounts it.
func loopMount(t testing.TB, path, options string) (dir string, end func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		oracle.Lacking(t, "only root can set up loop devices")
	}
	dir = t.TempDir()
	if out, err := exec.Command("mount", "-o", "loop,"+options, path, dir).CombinedOutput(); err != nil {
		if _, err := os.Stat("/dev/loop-control"); err != nil {
			oracle.Lacking(t, "no loop devices: %v", err)
		}
		t.Fatalf("%v: %s", err, out)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir, func() { oracle.Run(t, "umount", dir) }
}

func TestLoopReadOnly(t *testing.T) {
	data := noise(3<<20+5, 1)
	path, _ := mountDisk(t, image.Mem{Data: ext4(t, data), Holes: true}, Options{})
	dir, end := loopMount(t, path, "ro,noload")
	if got, err := os.ReadFile(filepath.Join(dir, "data")); err != nil || !bytes.Equal(got, data) {
		t.Errorf("read %d bytes through ext4: %v", len(got), err)
	}
	end()
}

func TestLoopWritable(t *testing.T) {
	data, more := noise(1<<20+5, 2), noise(4<<20+77, 3)
	disk := &board{data: ext4(t, data)}
	path, _ := mountDisk(t, disk, Options{Writable: true})
	dir, end := loopMount(t, path, "rw,discard")
	for name, data := range map[string][]byte{"data": more, "more": data} { // the first one is there already
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	oracle.Run(t, "fstrim", dir)
	end()
	if disk.syncs.Load() == 0 {
		t.Error("the file system has synced nothing")
	}
	img := filepath.Join(t.TempDir(), "img")
	if err := os.WriteFile(img, disk.bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	oracle.Run(t, "e2fsck", "-fn", img)
	dir, end = loopMount(t, img, "ro")
	defer end()
	for name, want := range map[string][]byte{"data": more, "more": data} {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: read %d bytes, %v", name, len(got), err)
		}
	}
}

// TestFio has fio write with several jobs and verify what it wrote.
func TestFio(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	for _, direct := range []string{"0", "1"} {
		path, _ := mountDisk(t, &board{data: make([]byte, 16<<20)}, Options{Writable: true})
		oracle.Run(t, "fio", "--name=verify", "--filename="+path, "--ioengine=psync", "--direct="+direct, "--rw=randrw", "--bs=4k-256k",
			"--size=4m", "--offset_increment=4m", "--numjobs=4", "--thread", "--verify=crc32c", "--verify_fatal=1", "--overwrite=1",
			"--allow_file_create=0", "--end_fsync=1")
	}
}
