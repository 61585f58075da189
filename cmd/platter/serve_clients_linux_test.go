package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"platter/snapshot/image/oracle"
)

// TestServeClients has the programs of others read a version and a partition of it.
func TestServeClients(t *testing.T) {
	s := newSite(t)
	disk := makeRealDisk(t, s, 20)
	s.must("backup", disk, "--name", "vm")
	s.must("restore", "vm:p1", s.path("p1"))
	odd := s.disk("odd", 1_000_003, 3, "mixed")
	s.must("backup", odd, "--name", "odd")
	p, uri := s.nbd()
	to := s.path("copied")
	same := func(want string) {
		t.Helper()
		if err := sameFiles(want, to); err != nil {
			t.Error(err)
		}
		if err := os.Remove(to); err != nil {
			t.Fatal(err)
		}
	}
	oracle.Run(t, "nbdcopy", "--connections=4", "--requests=16", uri("vm"), to)
	same(disk)
	oracle.Run(t, "nbdcopy", uri("vm:p1"), to)
	same(s.path("p1"))
	oracle.Run(t, "nbdcopy", "--connections=4", uri("odd"), to)
	same(odd)
	oracle.Run(t, "qemu-img", "convert", "-O", "qcow2", uri("vm~0"), to)
	oracle.Run(t, "qemu-img", "compare", "-f", "qcow2", to, disk)
	oracle.Run(t, "qemu-img", "compare", "-f", "raw", "-F", "raw", uri("vm"), disk)
	if out := oracle.Run(t, "nbdinfo", "--list", uri("")); !strings.Contains(out, ":p1") || strings.Count(out, "export=") != 3 {
		t.Errorf("nbdinfo lists\n%s", out)
	}
	holesAreZeros(t, disk, oracle.Run(t, "nbdinfo", "--map", "--json", uri("vm")))
	holesAreZeros(t, disk, oracle.Run(t, "qemu-img", "map", "--output", "json", "-f", "raw", uri("vm")))
	if out, err := oracle.Command(t, "nbdinfo", uri("nosuch")).CombinedOutput(); err == nil {
		t.Errorf("there is an export that does not exist: %s", out)
	}
	s.stop(p, syscall.SIGINT)
}

// holesAreZeros checks a map of nbdinfo or qemu-img: it covers the disk, has holes, and what it calls zeros is zeros.
func holesAreZeros(t *testing.T, disk, text string) {
	t.Helper()
	var list []struct {
		Off  int64 `json:"offset"`
		At   int64 `json:"start"` // as qemu-img calls it
		Len  int64 `json:"length"`
		Type int   `json:"type"` // of nbdinfo: bit 1 says zeros
		Zero bool  `json:"zero"`
	}
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(disk)
	if err != nil {
		t.Fatal(err)
	}
	end, zeros := int64(0), int64(0)
	for _, e := range list {
		off := max(e.Off, e.At)
		if off != end {
			t.Errorf("an extent at %d follows one that ends at %d", off, end)
		}
		if end = off + e.Len; e.Zero || e.Type&2 != 0 {
			zeros += e.Len
			if i := strings.IndexFunc(string(data[off:end]), func(c rune) bool { return c != 0 }); i >= 0 {
				t.Errorf("byte %d is said to be zero", off+int64(i))
			}
		}
	}
	if end != int64(len(data)) || zeros < int64(len(data))/4 || zeros == end {
		t.Errorf("%d bytes are listed, %d of zeros", end, zeros)
	}
}

// TestServeNBDFuse makes a file of a version without root's mount.
func TestServeNBDFuse(t *testing.T) {
	needMounts(t)
	s := newSite(t)
	disk := s.disk("disk", 2<<20, 1, "mixed")
	s.must("backup", disk, "--name", "disk")
	p, uri := s.nbd("disk")
	dir := t.TempDir()
	fuse := oracle.Command(t, "nbdfuse", "-r", filepath.Join(dir, "img"), uri(""))
	if err := fuse.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = unix.Unmount(dir, unix.MNT_DETACH)
		_ = fuse.Wait()
	})
	waitFor(t, "nbdfuse", func() bool {
		_, err := os.Stat(filepath.Join(dir, "img"))
		return err == nil
	})
	if err := sameFiles(disk, filepath.Join(dir, "img")); err != nil {
		t.Error(err)
	}
	oracle.Run(t, "umount", dir)
	s.stop(p, syscall.SIGTERM)
}

// root returns the root of a version's map: equal roots are equal disks, cut equally.
func (s *site) root(version string) string {
	s.t.Helper()
	var shown struct{ Root string }
	s.query(&shown, "show", version)
	if len(shown.Root) != 64 {
		s.t.Fatalf("show prints the root %q", shown.Root)
	}
	return shown.Root
}

// TestServeSaved has QEMU write to a version, over NBD and through a partition's file. What is saved has the map of a full
// backup of the same bytes.
func TestServeSaved(t *testing.T) {
	needMounts(t)
	s := newSite(t)
	disk := makeRealDisk(t, s, 20)
	s.must("backup", disk, "--name", "vm")
	base := s.snapshots()[0].ID
	full := func(saved, want string) {
		t.Helper()
		s.restores(saved, want)
		s.must("backup", want, "--name", "full")
		if got, want := s.root(saved), s.root("full"); got != want {
			t.Errorf("the root of %s is %s, and a full backup has %s", saved, got, want)
		}
	}
	writes := []string{"-f", "raw", "-c", "write -P 7 1M 200k", "-c", "write -P 8 20987392 512", "-c", "write -z 3M 1M", "-c", "discard 6M 2M", "-c", "flush", "-c", "write -P 9 31M 1M"}
	twin := s.path("twin") // the same is done to a file
	oracle.Run(t, "cp", disk, twin)
	oracle.Run(t, "qemu-io", append(writes, twin)...)

	p, uri := s.nbd("vm", "--save", "vm")
	oracle.Run(t, "qemu-io", append(writes, uri(""))...)
	oracle.Run(t, "nbdcopy", uri(""), s.path("seen"))
	s.stop(p, syscall.SIGINT)
	if err := sameFiles(twin, s.path("seen")); err != nil {
		t.Fatalf("through NBD: %v", err)
	}
	full("vm", twin)
	s.restores(base, disk)

	// Part of the writes into the partition's file, part over NBD, in one overlay.
	m, dir := s.mount(base, "--overlay", s.path("kept"))
	part := filepath.Join(dir, "p1-tree.img")
	scribble(t, part, noise(123_456, 5), 10<<20+1)
	scribble(t, filepath.Join(dir, "disk.img"), noise(4096, 6), 0x7000)
	seen := make([]byte, 123_456)
	f, err := os.Open(filepath.Join(dir, "disk.img"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.ReadAt(seen, oraclePartition+10<<20+1)
	if err := errors.Join(err, f.Close()); err != nil || string(seen) != string(noise(123_456, 5)) {
		t.Errorf("what is written to p1 does not show in disk.img: %v", err)
	}
	s.stop(m, syscall.SIGTERM)
	p, uri = s.nbd(base, "--overlay", s.path("kept"), "--save", "vm")
	oracle.Run(t, "qemu-io", "-f", "raw", "-c", "write -P 3 64k 64k", uri("p1"))
	s.stop(p, syscall.SIGTERM)
	oracle.Run(t, "cp", disk, twin)
	scribble(t, twin, noise(123_456, 5), oraclePartition+10<<20+1)
	scribble(t, twin, noise(4096, 6), 0x7000)
	scribble(t, twin, []byte(strings.Repeat("\x03", 64<<10)), oraclePartition+64<<10)
	full("vm", twin)
	s.sound()
}

// TestServeFio has fio write to a version and verify what it reads, over NBD and through a mount.
func TestServeFio(t *testing.T) {
	if testing.Short() {
		t.Skip("long")
	}
	needMounts(t)
	s := newSite(t)
	s.must("backup", s.disk("disk", 64<<20, 1, "mixed"), "--name", "disk")
	verify := func(args ...string) {
		t.Helper()
		oracle.Run(t, "fio", append([]string{"--name=verify", "--rw=randrw", "--bs=4k-256k", "--verify=crc32c", "--verify_fatal=1", "--end_fsync=1"}, args...)...)
	}
	p, uri := s.nbd("disk", "--writable")
	verify("--ioengine=nbd", "--uri="+uri(""), "--size=16m", "--iodepth=16")
	s.stop(p, syscall.SIGINT)
	m, dir := s.mount("disk", "--writable")
	verify("--ioengine=psync", "--filename="+filepath.Join(dir, "disk.img"), "--size=8m", "--offset_increment=8m", "--numjobs=4", "--thread",
		"--overwrite=1", "--allow_file_create=0", "--direct=1")
	s.stop(m, syscall.SIGINT)
}
