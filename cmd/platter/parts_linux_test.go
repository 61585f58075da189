package main

import (
	"os"
	"testing"

	"platter/snapshot/image/oracle"
)

// TestParts takes a partition out of a disk in every way there is.
func TestParts(t *testing.T) {
	s := newSite(t)
	disk, fs := makeRealDisk(t, s, 12), s.path("wanted")
	s.must("backup", disk, "--name", "vm")
	copyPart(t, disk, oraclePartition, fs, 0)
	same := func(path string) {
		t.Helper()
		if err := sameFiles(fs, path); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	part := s.path("part")
	for _, spec := range []string{"vm:p1", "vm:LABEL=tree", "latest:p1"} {
		s.must("restore", spec, part, "--force", "--verify")
		same(part)
	}
	oracle.Run(t, "e2fsck", "-fn", part)
	f, err := os.OpenFile(part, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(make([]byte, 1<<20), 5<<20+100); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	s.must("restore", "vm:p1", part, "--in-place", "--verify")
	same(part)
	p := s.start(nil, "restore", "vm:p1", "-")
	p.ends(0, "")
	if err := os.WriteFile(part, []byte(p.stdout.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	same(part)
	for _, format := range []string{"qcow2", "vmdk", "vdi", "vhdx", "vhd"} {
		s.must("export", "vm:p1", s.path("part."+format), "--verify")
		oracle.Run(t, "qemu-img", "compare", "-f", "raw", "-F", qemuName(format), fs, s.path("part."+format))
	}
	s.start(nil, "restore", "vm:p2", s.path("none")).ends(1, "the disk has p1")
	s.start(nil, "restore", "vm:p1", part).ends(1, "exists already")
	s.start(nil, "show", "vm:sda1").ends(1, "p1, LABEL=")
}
