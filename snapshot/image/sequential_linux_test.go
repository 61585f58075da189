package image

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"unsafe"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"platter/snapshot/image/oracle"
)

// mustLoop returns a loop device over a file with this data, opened and prepared with ReadSequentially.
func mustLoop(t *testing.T, data []byte) (d *File, node, path string) {
	t.Helper()
	path = writeSparse(t, data)
	node = oracle.Loop(t, path)
	d = mustOpen(t, node)
	d.ReadSequentially()
	return d, node, path
}

func alignedBytes(n int) []byte {
	p := make([]byte, n+Alignment)
	return p[-uintptr(unsafe.Pointer(&p[0]))%Alignment:][:n]
}

// TestDeviceReadDirectly checks that direct and cached reads of a device agree: whole blocks, its end, and memory of
// any alignment.
func TestDeviceReadDirectly(t *testing.T) {
	for _, size := range []int{512, 4096, 4096 + 512, 1<<20 + 3*512, 5 << 20} {
		data := make([]byte, size)
		Fill{Seed: uint64(size)}.read(data, 0)
		d, _, _ := mustLoop(t, data)
		direct, ok := d.read.(*directReader)
		if !ok {
			t.Fatal("the device is not read directly")
		}
		testDisk(t, d, data)
		buf := alignedBytes(size)
		for off := 0; off < size; off += Alignment {
			got := buf[:min(1<<20, size-off)]
			clear(got)
			if n, err := d.ReadAt(got, int64(off)); n != len(got) || err != nil || !bytes.Equal(got, data[off:off+n]) {
				t.Fatalf("%d bytes at %d: %d, %v, or other bytes", len(got), off, n, err)
			}
		}
		if direct.refused.Load() {
			t.Error("the device refused direct reads")
		}
		if d.Cached(0, 512) {
			t.Error("what is read directly counts as cached")
		}
	}
}

// TestDeviceReadDirectlyAfterWrite checks that direct reads see what was written through the device's cache.
func TestDeviceReadDirectlyAfterWrite(t *testing.T) {
	data := make([]byte, 1<<20)
	d, node, _ := mustLoop(t, data)
	if got := collect(t, d); !slices.Equal(got, []Extent{{Len: 1 << 20}}) {
		t.Fatal(got)
	}
	f, err := os.OpenFile(node, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	buf := alignedBytes(len(data))
	for seed := range uint64(20) {
		off := int(seed) * 50_001
		Fill{Seed: seed}.read(data[off:off+40_000], 0)
		if _, err := f.WriteAt(data[off:off+40_000], int64(off)); err != nil {
			t.Fatal(err)
		}
		if _, err := d.ReadAt(buf, 0); err != nil || !bytes.Equal(buf, data) {
			t.Fatalf("write %d is not seen: %v", seed, err)
		}
	}
}

// TestDirectReadFallsBack checks that the page cache serves reads that fail directly, and that EINVAL ends direct reads
// for good.
func TestDirectReadFallsBack(t *testing.T) {
	data := make([]byte, 1<<20)
	Fill{Seed: 1}.read(data, 0)
	d, _, path := mustLoop(t, data)
	plain, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	buf := alignedBytes(64 << 10)
	odd := &directReader{plain: plain, direct: d.direct, block: 1} // the kernel requires multiples of 512
	if n, err := odd.ReadAt(buf, 513); n != len(buf) || err != nil || !bytes.Equal(buf, data[513:513+n]) {
		t.Errorf("read %d, %v", n, err)
	}
	if !odd.refused.Load() {
		t.Error("direct reads are tried again after EINVAL")
	}
	closed, err := os.Open(path)
	if err = errors.Join(err, closed.Close()); err != nil {
		t.Fatal(err)
	}
	failing := &directReader{plain: plain, direct: closed, block: 512}
	if n, err := failing.ReadAt(buf, 512); n != len(buf) || err != nil || !bytes.Equal(buf, data[512:512+n]) {
		t.Errorf("read %d, %v", n, err)
	}
	if failing.refused.Load() {
		t.Error("one failure ends direct reads")
	}
	short := &directReader{plain: plain, direct: plain, block: 512} // like a device that became shorter
	if n, err := short.ReadAt(buf, 1<<20-1024); n != 1024 || err != io.EOF || !bytes.Equal(buf[:n], data[1<<20-1024:]) {
		t.Errorf("read %d, %v", n, err)
	}
}

func TestDirectIsForDevices(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk.img")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if direct, _ := openDirect(path, f); direct != nil {
		t.Error("a file is opened as a device")
	}
	d, _, _ := mustLoop(t, make([]byte, 4096))
	_, other, _ := mustLoop(t, make([]byte, 4096))
	if direct, _ := openDirect(other, d.file); direct != nil {
		t.Error("another device is taken for the one that was opened")
	}
	if direct, _ := openDirect(path, d.file); direct != nil {
		t.Error("a file is taken for the device that was opened")
	}
}

// pagesCached returns for each page of a file 1 if it is in the cache, else 0. It queries a memory map of the whole
// file.
func pagesCached(t *testing.T, f *os.File, size int) []byte {
	t.Helper()
	m, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	pages := make([]byte, (size+os.Getpagesize()-1)/os.Getpagesize())
	_, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&m[0])), uintptr(size), uintptr(unsafe.Pointer(&pages[0])))
	if err := unix.Munmap(m); errno != 0 || err != nil {
		t.Fatal(errno, err)
	}
	for i := range pages {
		pages[i] &= 1
	}
	return pages
}

// TestReadOnceLeavesTheCacheAsItWas checks that reading a file once changes nothing in which of its pages are cached.
func TestReadOnceLeavesTheCacheAsItWas(t *testing.T) {
	rng := rand.New(rand.NewPCG(21, 22))
	const size = 24<<20 + 12345
	data := make([]byte, size)
	Fill{Seed: 1}.read(data[:9<<20], 0)
	Fill{Seed: 2}.read(data[10<<20:], 0)
	path := writeSparse(t, data)
	var fs unix.Statfs_t
	if err := unix.Statfs(path, &fs); err != nil {
		t.Fatal(err)
	}
	if f := mustOpen(t, path).file; f.Sync() != nil {
		t.Fatal("cannot sync")
	}
	for round := range 8 {
		d := mustOpen(t, path)
		if err := d.Forget(); err != nil {
			t.Fatal(err)
		}
		d.ReadSequentially() // no read-ahead
		for range round * 10 {
			n, off := 1+rng.IntN(1<<rng.IntN(21)), rng.IntN(size-1<<21)
			if _, err := d.file.ReadAt(make([]byte, n), int64(off)); err != nil {
				t.Fatal(err)
			}
		}
		before := pagesCached(t, d.file, size)
		if slices.Index(before, 0) < 0 && fs.Type != unix.TMPFS_MAGIC {
			t.Fatal("all of the file is in the cache although it was dropped")
		}
		collect(t, d)
		readOnce(t, d, data)
		if after := pagesCached(t, d.file, size); !bytes.Equal(before, after) {
			t.Errorf("round %d: %d pages were in the cache, %d are", round, bytes.Count(before, []byte{1}), bytes.Count(after, []byte{1}))
		}
	}
}

// readOnce reads a disk in pieces of 1 MiB from several goroutines, and compares it with data.
func readOnce(t *testing.T, d *File, data []byte) {
	t.Helper()
	var g errgroup.Group
	g.SetLimit(3)
	for off := 0; off < len(data); off += 1 << 20 {
		g.Go(func() error {
			got := make([]byte, min(1<<20, len(data)-off))
			if _, err := d.ReadAt(got, int64(off)); err != nil {
				return err
			}
			if !bytes.Equal(got, data[off:off+len(got)]) {
				return errors.New("the disk reads wrongly")
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
}

// TestReadOnceReadsTheSame checks that a file reads the same after ReadSequentially.
func TestReadOnceReadsTheSame(t *testing.T) {
	rng := rand.New(rand.NewPCG(23, 24))
	// The largest file needs more than one query of the cache.
	for _, size := range []int{0, 1, 4095, 4097, 1<<20 + 3, 5<<20 + 777} {
		data := randomDisk(rng, size)
		d := mustOpen(t, writeSparse(t, data))
		d.ReadSequentially()
		testDisk(t, d, data)
		if size > 0 && !d.Cached(0, int64(size)) && tellsCached(t, d.file, size) {
			t.Errorf("%d bytes that were just written do not count as cached", size)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := d.ReadAt(make([]byte, 1), 0); size > 0 && !errors.Is(err, os.ErrClosed) {
			t.Errorf("ReadAt on a closed file: %v", err)
		}
	}
}

// tellsCached reports whether the kernel and the file system can count cached pages, and the whole file is in the
// cache.
func tellsCached(t *testing.T, f *os.File, size int) bool {
	t.Helper()
	var fs unix.Statfs_t
	if err := unix.Statfs(f.Name(), &fs); err != nil {
		t.Fatal(err)
	}
	err := unix.Cachestat(uint(f.Fd()), &unix.CachestatRange{}, new(unix.Cachestat_t), 0)
	return err == nil && fs.Type != unix.OVERLAYFS_SUPER_MAGIC && slices.Index(pagesCached(t, f, size), 0) < 0
}

// BenchmarkReadRegion reads 64 MiB of a cached file, in pieces of 1 MiB.
func BenchmarkReadRegion(b *testing.B) {
	path := filepath.Join(b.TempDir(), "disk.img")
	if err := os.WriteFile(path, make([]byte, 64<<20), 0o600); err != nil {
		b.Fatal(err)
	}
	d, err := Open(path)
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close()
	d.ReadSequentially()
	buf := alignedBytes(1 << 20)
	b.SetBytes(64 << 20)
	b.ReportAllocs()
	for b.Loop() {
		for off := int64(0); off < d.Size(); off += 1 << 20 {
			if _, err := d.ReadAt(buf, off); err != nil {
				b.Fatal(err)
			}
		}
	}
}
