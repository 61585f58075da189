package image

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"platter/snapshot/image/oracle"
)

// TestFileHoles checks holes on file systems that report them: ext4, xfs, btrfs, tmpfs.
func TestFileHoles(t *testing.T) {
	const mib = 1 << 20
	data := make([]byte, 5*mib+3)
	Fill{Seed: 1}.read(data[mib:2*mib], 0)
	Fill{Seed: 2}.read(data[3*mib:], 0)
	path := writeSparse(t, data)
	hole := Extent{Len: mib, Zero: true}
	wantExtents(t, mustOpen(t, path), hole, Extent{Off: mib, Len: mib}, Extent{Off: 2 * mib, Len: mib, Zero: true},
		Extent{Off: 3 * mib, Len: 2*mib + 3})

	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, off := range []int64{mib, 4 * mib} {
		err = errors.Join(err, unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, mib))
		clear(data[off : off+mib])
	}
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	d := mustOpen(t, path)
	wantExtents(t, d, Extent{Len: 3 * mib, Zero: true}, Extent{Off: 3 * mib, Len: mib},
		Extent{Off: 4 * mib, Len: mib, Zero: true}, Extent{Off: 5 * mib, Len: 3})
	testDisk(t, d, data)
}

// TestFileHuge uses offsets beyond 4 GiB, which do not fit into 32 bits.
func TestFileHuge(t *testing.T) {
	const size, at = 6<<40 + 1, 5 << 40
	path := filepath.Join(t.TempDir(), "disk.img")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt(make([]byte, blockLen), at)
	if err := errors.Join(err, f.Truncate(size), f.Close()); err != nil {
		oracle.Lacking(t, "the file system has no files of 6 TiB: %v", err)
	}
	d := mustOpen(t, path)
	if d.Size() != size {
		t.Errorf("Size() = %d", d.Size())
	}
	wantExtents(t, d, Extent{Len: at, Zero: true}, Extent{Off: at, Len: blockLen},
		Extent{Off: at + blockLen, Len: size - at - blockLen, Zero: true})
}

func TestFileWithoutSeek(t *testing.T) {
	f, w, err := os.Pipe() // returns ESPIPE for every lseek
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if start, end, err := nextData(f, 10, 99); start != 10 || end != 99 || err != nil {
		t.Errorf("nextData = %d, %d, %v; want all of it data", start, end, err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := nextData(f, 10, 99); !errors.Is(err, os.ErrClosed) {
		t.Errorf("nextData on a closed file: %v", err)
	}
}

func TestDevice(t *testing.T) {
	data := randomDisk(rand.New(rand.NewPCG(11, 12)), 1<<20+512)
	path := writeSparse(t, data)
	node := oracle.Loop(t, path)
	link := filepath.Join(t.TempDir(), "by-id")
	if err := os.Symlink(node, link); err != nil {
		t.Fatal(err)
	}
	d := mustOpen(t, link)
	if d.Kind != KindDevice {
		t.Errorf("Kind = %q", d.Kind)
	}
	testDisk(t, d, data)
	wantExtents(t, d, Extent{Len: d.Size()})
	if err := d.Changed(); err != nil {
		t.Error(err)
	}
	for _, size := range []int64{2 << 20, 1 << 19} {
		if err := os.Truncate(path, size); err != nil {
			t.Fatal(err)
		}
		oracle.Run(t, "losetup", "--set-capacity", node)
		if err := d.Changed(); !errors.Is(err, ErrResized) {
			t.Errorf("%d bytes: Changed() = %v, want ErrResized", size, err)
		}
	}
	if n, err := d.ReadAt(make([]byte, 2), 1<<19-1); n != 1 || !errors.Is(err, ErrResized) {
		t.Errorf("ReadAt past the new end = %d, %v; want 1, ErrResized", n, err)
	}
}
