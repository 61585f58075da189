package image

import (
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"platter/snapshot/image/oracle"
)

// writeSparse writes data to a new file, with holes where its blocks are zero.
func writeSparse(t *testing.T, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk.img")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	for e := range (Mem{Data: data, Holes: true}).Extents() {
		if !e.Zero {
			if _, err := f.WriteAt(data[e.Off:e.Off+e.Len], e.Off); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := errors.Join(f.Truncate(int64(len(data))), f.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

func mustOpen(t *testing.T, path string) *File {
	t.Helper()
	d, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func TestFileSizes(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for _, size := range []int{0, 1, 511, 512, 4096, 4097, 1<<20 + 3} {
		data := make([]byte, size)
		Fill{Seed: 1}.read(data, 0)
		for _, data := range [][]byte{data, make([]byte, size), randomDisk(rng, size)} {
			d := mustOpen(t, writeSparse(t, data))
			testDisk(t, d, data)
			if d.Kind != KindRaw {
				t.Errorf("Kind = %q", d.Kind)
			}
			if err := d.Changed(); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestFileRandom(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 60 {
		data := randomDisk(rng, rng.IntN(1<<20))
		testDisk(t, mustOpen(t, writeSparse(t, data)), data)
	}
}

func TestFileThroughSymlink(t *testing.T) {
	data := randomDisk(rand.New(rand.NewPCG(7, 8)), 100_000)
	link := filepath.Join(t.TempDir(), "by-id")
	if err := os.Symlink(writeSparse(t, data), link); err != nil {
		oracle.Lacking(t, "no symbolic links: %v", err)
	}
	d := mustOpen(t, link)
	testDisk(t, d, data)
	if d.Path != link {
		t.Errorf("Path = %q, want it as it was given: %q", d.Path, link)
	}
}

func TestFileMissing(t *testing.T) {
	if _, err := Open(filepath.Join(t.TempDir(), "no.img")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want fs.ErrNotExist", err)
	}
}

func TestFileChanged(t *testing.T) {
	for name, c := range map[string]struct {
		change func(path string) error
		want   error // nil: not detected
	}{
		"nothing":  {func(string) error { return nil }, nil},
		"longer":   {func(path string) error { return os.Truncate(path, 20_000) }, ErrResized},
		"shorter":  {func(path string) error { return os.Truncate(path, 1) }, ErrResized},
		"emptied":  {func(path string) error { return os.Truncate(path, 0) }, ErrResized},
		"modified": {func(path string) error { return touch(path, time.Now().Add(time.Hour)) }, ErrModified},
		"older":    {func(path string) error { return touch(path, time.Unix(1, 0)) }, ErrModified},
		"mode":     {func(path string) error { return os.Chmod(path, 0o400) }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			path := writeSparse(t, make([]byte, 10_000))
			d := mustOpen(t, path)
			if err := c.change(path); err != nil {
				t.Fatal(err)
			}
			if err := d.Changed(); !errors.Is(err, c.want) {
				t.Errorf("Changed() = %v, want %v", err, c.want)
			}
			if d.Size() != 10_000 {
				t.Errorf("Size() = %d, want what it was", d.Size())
			}
			if err := checkExtents(d, make([]byte, 10_000)); err != nil {
				t.Error(err)
			}
		})
	}
}

// touch writes a byte and sets the time, so that no two writes have the same time.
func touch(path string, when time.Time) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt([]byte{0}, 0)
	return errors.Join(err, f.Close(), os.Chtimes(path, when, when))
}

func TestFileLongerReadsAsOpened(t *testing.T) {
	for name, filled := range map[string]int{"ends in data": 50_000, "ends in a hole": 20_000} {
		t.Run(name, func(t *testing.T) {
			data := make([]byte, 50_000)
			Fill{Seed: 1}.read(data[:filled], 0)
			path := writeSparse(t, data)
			d := mustOpen(t, path)
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			_, err = f.WriteAt([]byte("more"), 1<<20)
			if err := errors.Join(err, f.Close()); err != nil {
				t.Fatal(err)
			}
			testDisk(t, d, data)
		})
	}
}

func TestFileShorterFailsToRead(t *testing.T) {
	path := writeSparse(t, make([]byte, 10_000))
	d := mustOpen(t, path)
	if err := os.Truncate(path, 4000); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ off, len, n int }{{0, 4000, 4000}, {0, 5000, 4000}, {3999, 2, 1}, {4000, 10, 0}, {9990, 20, 0}} {
		n, err := d.ReadAt(make([]byte, c.len), int64(c.off))
		if c.n == c.len {
			if n != c.n || err != nil {
				t.Errorf("ReadAt(%d bytes, %d) = %d, %v", c.len, c.off, n, err)
			}
		} else if n != c.n || !errors.Is(err, ErrResized) || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("ReadAt(%d bytes, %d) = %d, %v; want %d, ErrResized", c.len, c.off, n, err, c.n)
		}
	}
}

func TestFileClosed(t *testing.T) {
	d := mustOpen(t, writeSparse(t, make([]byte, 10_000)))
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := d.ReadAt(make([]byte, 1), 0); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("ReadAt: %v", err)
	}
	if err := d.Changed(); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Changed: %v", err)
	}
}

// TestFileDisbelievesFalseHoles checks that a file system that reports false holes loses no data.
func TestFileDisbelievesFalseHoles(t *testing.T) {
	const size = 40 * blockLen
	for name, c := range map[string]struct {
		data int // offset of the one byte that is not zero
		next dataFinder
		want []Extent
	}{
		"all a hole": {
			0, func(*os.File, int64, int64) (int64, int64, error) { return size, size, nil },
			[]Extent{{Len: size}},
		},
		"data at its end": {
			size - 1, func(*os.File, int64, int64) (int64, int64, error) { return size, size, nil },
			[]Extent{{Len: size}},
		},
		"second hole": {20 * blockLen, func(_ *os.File, off, _ int64) (int64, int64, error) {
			return off + 10*blockLen, off + 20*blockLen, nil
		}, []Extent{{Len: 10 * blockLen, Zero: true}, {Off: 10 * blockLen, Len: 30 * blockLen}}},
		"true": {15 * blockLen, func(_ *os.File, off, _ int64) (int64, int64, error) {
			return off + 10*blockLen, off + 20*blockLen, nil
		}, []Extent{
			{Len: 10 * blockLen, Zero: true},
			{Off: 10 * blockLen, Len: 10 * blockLen},
			{Off: 20 * blockLen, Len: 10 * blockLen, Zero: true},
			{Off: 30 * blockLen, Len: 10 * blockLen},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			data := make([]byte, size)
			data[c.data] = 1
			d := mustOpen(t, writeSparse(t, data))
			d.nextData = c.next
			wantExtents(t, d, c.want...)
			testDisk(t, d, data)
		})
	}
}

func TestRefusal(t *testing.T) {
	for _, mode := range []fs.FileMode{
		fs.ModeDir, fs.ModeNamedPipe, fs.ModeSocket, fs.ModeIrregular, fs.ModeDevice | fs.ModeCharDevice,
	} {
		if refusal("x", mode) == nil {
			t.Errorf("%s is taken for a disk", mode)
		}
	}
}
