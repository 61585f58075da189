package main

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"platter/snapshot/image/oracle"
)

// most is how much memory the program may take, in bytes, password and all.
const most = 256 << 20

// newMeasuredSite makes a repository as people do, with the real cost of a password and packs of the real size unless flags
// say something else, and the program as people run it: this test binary is larger, and may have the race detector in it.
func newMeasuredSite(t *testing.T, flags ...string) *site {
	t.Helper()
	dir := t.TempDir()
	program := filepath.Join(dir, "platter")
	if out, err := exec.Command("go", "build", "-race=false", "-buildvcs=false", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	s := &site{t, dir, filepath.Join(dir, "repo"), program}
	s.must(append([]string{"init"}, flags...)...)
	return s
}

// measured runs the program and returns what it printed. It may take no more memory than most.
func (s *site) measured(stdin io.Reader, args ...string) string {
	s.t.Helper()
	peak := s.path("peak")
	p := s.command(args...)
	measure, err := exec.LookPath("measure")
	if err != nil {
		s.t.Fatal(err)
	}
	p.Path, p.Args = measure, append([]string{"measure", peak, s.program}, args...)
	p.Stdin = stdin
	if err := p.Start(); err != nil {
		s.t.Fatal(err)
	}
	p.ends(0, "")
	text, err := os.ReadFile(peak)
	if err != nil {
		s.t.Fatal(err)
	}
	bytes, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil || bytes < 10<<20 || bytes > most {
		s.t.Errorf("%v took %d MiB, %v", args, bytes>>20, err)
	}
	s.t.Logf("%s: %d MiB", args[0], bytes>>20)
	return p.stdout.String()
}

// patchy is a disk of random bytes and zeros in turns of 1 and 3 MiB.
func patchy(seed byte, size int64) io.Reader {
	var parts []io.Reader
	data := random(seed)
	for range size >> 22 {
		parts = append(parts, io.LimitReader(data, 1<<20), io.LimitReader(zeros{}, 3<<20))
	}
	return io.MultiReader(parts...)
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// TestMemory checks that the program's memory does not depend on the size of the disk.
func TestMemory(t *testing.T) {
	s := newMeasuredSite(t)
	size := shorter(1<<30, 192<<20)
	disk := s.path("disk")
	f, err := os.Create(disk)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(f, patchy(1, size)); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	s.measured(nil, "backup", disk, "--name", "file")
	s.measured(patchy(2, size), "backup", "-", "--name", "stream")
	if list := s.snapshots(); len(list) != 2 || list[0].Stats.Data != size/4 || list[1].Stats.Data != size/4 || list[1].Stats.New < size/4 {
		t.Errorf("it kept %+v", list)
	}
	s.measured(nil, "restore", "file", s.path("back"), "--verify")
	if err := sameFiles(disk, s.path("back")); err != nil {
		t.Error(err)
	}
	s.measured(nil, "check", "--read-data")
}

// TestMemoryOfParity checks the same with parity, whose tables alone take 73 MiB.
func TestMemoryOfParity(t *testing.T) {
	s := newMeasuredSite(t)
	s.must("parity", "add")
	s.measured(patchy(3, 384<<20), "backup", "-", "--name", "stream")
	s.must("parity", "remove")
	s.measured(nil, "parity", "add", "--share", "10%")
	s.measured(nil, "check", "--read-packs")

	packs, err := filepath.Glob(s.path("repo/packs/*/*"))
	if err != nil {
		t.Fatal(err)
	}
	damaged := 0
	for _, name := range packs {
		if filepath.Ext(name) == ".par" {
			continue
		}
		f, err := os.OpenFile(name, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.WriteAt(make([]byte, 100<<10), 1<<20)
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
		damaged++
	}
	if damaged < 3 {
		t.Fatalf("%d packs", damaged)
	}
	s.measured(nil, "restore", "stream", s.path("back"), "--verify")
	back, err := os.Open(s.path("back"))
	if err != nil {
		t.Fatal(err)
	}
	defer back.Close()
	if err := sameBytes(back, patchy(3, 384<<20)); err != nil {
		t.Error(err)
	}
	s.measured(nil, "repair", "packs")
	s.measured(nil, "check", "--read-packs")
}

// TestHugeDisk checks that a disk of 8 TiB costs what its few MiB of data do: time, memory, and room where it is restored.
func TestHugeDisk(t *testing.T) {
	s := newMeasuredSite(t)
	disk := s.path("disk")
	f, err := os.Create(disk)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const tib = 1 << 40
	if err := f.Truncate(8 * tib); err != nil {
		oracle.Lacking(t, "a file of 8 TiB: %v", err)
	}
	for i, place := range []struct{ off, n int64 }{
		{0, 1 << 20}, {tib + 12345, 5000}, {3*tib - 70_000, 140_001}, {5 * tib, 2 << 20}, {7*tib - 1, 1}, {8*tib - 4097, 4097},
	} {
		if _, err := io.Copy(io.NewOffsetWriter(f, place.off), io.LimitReader(random(byte(i)), place.n)); err != nil {
			t.Fatal(err)
		}
	}

	start := time.Now()
	s.measured(nil, "backup", disk, "--name", "disk")
	s.measured(nil, "restore", "disk", s.path("back"), "--verify")
	if took := time.Since(start); took > 30*time.Second { // it is one or two
		t.Errorf("it took %v", took)
	}
	list := s.snapshots()
	if len(list) != 1 || list[0].Size != 8*tib || list[0].Stats.Read > 8<<20 || list[0].Stats.Stored > 8<<20 {
		t.Errorf("it kept %+v", list)
	}
	back, err := os.Open(s.path("back"))
	if err != nil {
		t.Fatal(err)
	}
	defer back.Close()
	sameSparse(t, f, back)
	sameSparse(t, back, f)
	if was, is := blocksOf(t, f), blocksOf(t, back); is > was+64<<10 { // the file system's own lists of extents count
		t.Errorf("restored it takes %d bytes, before %d", is, was)
	}
}

// sameSparse holds that two files of one size are equal wherever a has data.
func sameSparse(t *testing.T, a, b *os.File) {
	t.Helper()
	size, err := a.Seek(0, io.SeekEnd)
	if err != nil {
		t.Fatal(err)
	}
	if other, err := b.Seek(0, io.SeekEnd); err != nil || other != size {
		t.Fatalf("%d bytes and %d, %v", size, other, err)
	}
	runs := 0
	for off := int64(0); ; runs++ {
		start, err := unix.Seek(int(a.Fd()), off, unix.SEEK_DATA)
		if err == unix.ENXIO {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if off, err = unix.Seek(int(a.Fd()), start, unix.SEEK_HOLE); err != nil {
			t.Fatal(err)
		}
		p, q := make([]byte, off-start), make([]byte, off-start)
		_, errA := a.ReadAt(p, start)
		_, errB := b.ReadAt(q, start)
		if errA != nil || errB != nil {
			t.Fatal(errA, errB)
		}
		if at := difference(p, q); at >= 0 {
			t.Fatalf("they differ at byte %d", start+int64(at))
		}
	}
	if runs < 6 {
		t.Errorf("%d runs of data seen", runs)
	}
}

func blocksOf(t *testing.T, f *os.File) int64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	return st.Blocks * 512
}
