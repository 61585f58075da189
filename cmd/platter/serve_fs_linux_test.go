package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"platter/snapshot/image/oracle"
)

// A fileSystem is one that a disk without partitions holds.
type fileSystem struct {
	name  string
	size  int64
	mkfs  []string
	check []string // it changes nothing, and fails if anything is wrong
	raw   string   // mount options that leave the journal alone; "" if there is none
	fuse  string   // the program that mounts it; "" for the kernel
}

var servedSystems = []fileSystem{
	{"ext4", 16 << 20, []string{"mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0"}, []string{"e2fsck", "-fn"}, "noload", ""},
	{"xfs", 300 << 20, []string{"mkfs.xfs", "-q", "-f"}, []string{"xfs_repair", "-n", "-f"}, "norecovery", ""},
	{"btrfs", 110 << 20, []string{"mkfs.btrfs", "-q", "-f"}, []string{"btrfs", "check", "--readonly"}, "rescue=nologreplay", ""},
	{"ntfs", 8 << 20, []string{"mkfs.ntfs", "-q", "-F"}, []string{"ntfsfix", "-n"}, "", "ntfs-3g"},
}

// attach mounts the file system in a file, and detaches it again unless the test does.
func (f fileSystem) attach(t *testing.T, img, options string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if f.fuse != "" {
		oracle.Run(t, f.fuse, "-o", options, img, dir)
	} else {
		oracle.Run(t, "mount", "-t", f.name, "-o", "loop,"+options, img, dir)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

// needs makes the test Lacking without the file system's programs and driver.
func (f fileSystem) needs(t *testing.T) {
	t.Helper()
	oracle.Path(t, f.mkfs[0])
	oracle.Path(t, f.check[0])
	if f.fuse != "" {
		oracle.Path(t, f.fuse)
		return
	}
	known, err := os.ReadFile("/proc/filesystems")
	if err != nil || !strings.Contains(string(known), "\t"+f.name+"\n") && exec.Command("modprobe", f.name).Run() != nil {
		oracle.Lacking(t, "this kernel has no %s: %v", f.name, err)
	}
}

// makeDirty makes a disk with the file system and files, and copies it as a power cut leaves it: mounted, with the last file
// in the journal only. It returns what the files hold.
func (f fileSystem) makeDirty(t *testing.T, clean, dirty string) map[string][]byte {
	t.Helper()
	img := oracle.Blank(t, f.size)
	oracle.Run(t, f.mkfs[0], append(f.mkfs[1:], img)...)
	dir := f.attach(t, img, "rw")
	files := map[string][]byte{"first": noise(1<<20+5, 1), "second": noise(700_001, 2), "third": noise(4096, 3)}
	for _, name := range []string{"first", "second", "third"} {
		if err := writeSynced(filepath.Join(dir, name), files[name]); err != nil {
			t.Fatal(err)
		}
	}
	oracle.Run(t, "cp", "--sparse=always", img, dirty)
	oracle.Run(t, "umount", dir)
	oracle.Run(t, "cp", "--sparse=always", img, clean)
	return files
}

func noise(n int, seed byte) []byte {
	p := make([]byte, n)
	_, _ = random(seed).Read(p) // it never fails
	return p
}

func writeSynced(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}

func wantFiles(t *testing.T, dir string, files map[string][]byte) {
	t.Helper()
	for name, want := range files {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes that are not those of the file: %v", name, len(got), err)
		}
	}
}

// TestServeFileSystems mounts file systems from mounted versions: a clean one read-only, and one with a journal to replay
// read-only without that, and writable. The version stays as it is.
func TestServeFileSystems(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	needMounts(t)
	for _, f := range servedSystems {
		t.Run(f.name, func(t *testing.T) {
			f.needs(t)
			s := newSite(t)
			clean, dirty := s.path("clean"), s.path("dirty")
			files := f.makeDirty(t, clean, dirty)
			s.must("backup", clean, "--name", "clean")
			s.must("backup", dirty, "--name", "dirty")

			p, shown := s.mount("")
			img := func(name string) string { return filepath.Join(shown, name, "latest", "disk.img") }
			dir := f.attach(t, img("clean"), "ro")
			wantFiles(t, dir, files)
			oracle.Run(t, "umount", dir)
			if f.raw != "" {
				dir = f.attach(t, img("dirty"), "ro,"+f.raw)
				oracle.Run(t, "umount", dir)
			}
			s.stop(p, syscall.SIGINT)

			p, shown = s.mount("", "--writable")
			dir = f.attach(t, img("dirty"), "rw")
			wantFiles(t, dir, files)
			more := map[string][]byte{"fourth": noise(2<<20+77, 4)}
			if err := writeSynced(filepath.Join(dir, "fourth"), more["fourth"]); err != nil {
				t.Fatal(err)
			}
			wantFiles(t, dir, more)
			oracle.Run(t, "umount", dir)
			oracle.Run(t, f.check[0], append(f.check[1:], img("dirty"))...)
			s.stop(p, syscall.SIGINT)
			s.restores("dirty", dirty)
		})
	}
}

// TestServeFAT reads and writes FAT in mounted versions with mtools, since many kernels have no driver for it.
func TestServeFAT(t *testing.T) {
	needMounts(t)
	s := newSite(t)
	disk, file, back := s.path("fat"), s.path("file"), s.path("back")
	if err := errors.Join(os.WriteFile(disk, nil, 0o600), os.Truncate(disk, 8<<20), os.WriteFile(file, noise(1<<20+5, 1), 0o600)); err != nil {
		t.Fatal(err)
	}
	oracle.Run(t, "mkfs.vfat", disk)
	oracle.Run(t, "mcopy", "-i", disk, file, "::first")
	s.must("backup", disk, "--name", "fat")
	p, shown := s.mount("", "--writable")
	img := filepath.Join(shown, "fat", "latest", "disk.img")
	for _, name := range []string{"first", "second"} {
		if name == "second" {
			oracle.Run(t, "mcopy", "-i", img, file, "::second")
		}
		os.Remove(back)
		oracle.Run(t, "mcopy", "-i", img, "::"+name, back)
		oracle.Run(t, "cmp", file, back)
	}
	oracle.Run(t, "fsck.vfat", "-n", img)
	s.stop(p, syscall.SIGINT)
	s.restores("fat", disk)
}
