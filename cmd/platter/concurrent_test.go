package main

import (
	"errors"
	"io"
	"os"
	"testing"
)

// TestTwoBackupsAtOnce checks that neither gets into the other's way. Both are sure to be under way: each is fed the second
// half of its disk only when packs of both are there.
func TestTwoBackupsAtOnce(t *testing.T) {
	s := newSite(t)
	const half = 8 << 20
	names := [2]string{"left", "right"}
	packs := [2]int{1, half>>20 + 1} // a half is at most so many packs as it has MiB: one more is the second backup's
	common := s.disk("common", 3<<20, 9, "random")
	var disks [2]string
	var pipes [2]io.WriteCloser
	var backups [2]*process
	for i, name := range names {
		disks[i] = s.disk(name, 2*half, uint64(i), "random")
		paste(t, common, disks[i], half)
		p := s.command("backup", "-", "--name", name)
		in, err := p.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = p.Process.Kill() })
		feed(t, in, disks[i], 0, half)
		s.waitForPacks(packs[i])
		pipes[i], backups[i] = in, p
	}
	for i := range names {
		feed(t, pipes[i], disks[i], half, half)
		if err := pipes[i].Close(); err != nil {
			t.Fatal(err)
		}
	}
	for i := range names {
		backups[i].ends(0, "")
	}
	for i, name := range names {
		s.restores(name, disks[i])
	}
	if list := s.snapshots(); len(list) != 2 {
		t.Errorf("they kept %+v", list)
	}
	s.sound()
}

// paste writes a file over a part of a disk.
func paste(t *testing.T, path, disk string, off int64) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(disk, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt(data, off)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// feed writes a part of a file.
func feed(t *testing.T, w io.Writer, path string, off, n int64) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := io.Copy(w, io.NewSectionReader(f, off, n)); err != nil {
		t.Fatal(err)
	}
}
