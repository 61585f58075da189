package virtual

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"platter/snapshot/image"
)

// qcowSamples returns the images in testdata, which qemu-img made.
func qcowSamples(t testing.TB) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob("testdata/*.qcow2")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no images in testdata: %v", err)
	}
	samples := map[string][]byte{}
	for _, path := range paths {
		if samples[path], err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	}
	return samples
}

// TestQcow2Samples checks that the images in testdata still read as when they were made.
func TestQcow2Samples(t *testing.T) {
	for path, data := range qcowSamples(t) {
		d, _, err := openMem(data, Options{})
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		compare(t, d, readBack(t, path))
	}
}

// FuzzQcow2 checks that no file makes a reader crash, use much memory or run for long, and that extents and reads
// agree.
func FuzzQcow2(f *testing.F) {
	for _, data := range qcowSamples(f) {
		f.Add(data, "")
		f.Add(data, "one")
	}
	for _, q := range []qcowFile{
		{size: 512},
		{size: 512, version: 2},
		{size: 1 << 20, backing: "x", format: "raw"},
		{bits: 14, size: 30000, incompatible: qcowExtended, l2: []uint64{3 << 14, 0xf0_0000000f}},
		{bits: 9, size: 1 << 21, l2: []uint64{qcowPackedBit | 1536}},
	} {
		f.Add(q.bytes(), "")
	}
	f.Fuzz(readBounded)
}

// FuzzQcow2Tables does as FuzzQcow2 for the tables after a valid header.
func FuzzQcow2Tables(f *testing.F) {
	f.Add(uint32(9), uint64(1<<20), uint64(0), uint64(1024), uint64(1536), uint64(qcowPackedBit|1600), []byte{7})
	f.Add(uint32(14), uint64(1<<20), uint64(qcowExtended), uint64(2<<14), uint64(3<<14), uint64(15<<32|0xf0), []byte{7})
	f.Add(uint32(12), uint64(1<<50), uint64(qcowCompressed), uint64(2<<12), uint64(qcowPackedBit|3<<12), uint64(1), []byte{0x28, 0xb5, 0x2f, 0xfd})
	f.Fuzz(func(t *testing.T, bits uint32, size, incompatible, l1, l2, l2Next uint64, data []byte) {
		if bits < minQcowBits || bits > 16 {
			return
		}
		b := qcowFile{bits: bits, size: size, incompatible: incompatible, l1: []uint64{l1, l1}, l2: []uint64{l2, l2Next, l2 + 1<<bits}}.bytes()
		if copy(b[3<<bits:], data); incompatible&qcowCompressed != 0 {
			b[qcowV3Len] = qcowZstd
			put32(100, qcowV3Len+8)(b)
		}
		readBounded(t, b, "")
	})
}

// readBounded opens and reads any file in bounded memory.
func readBounded(t *testing.T, data []byte, snapshot string) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if d, _, err := openMem(data, Options{Snapshot: snapshot}); err == nil {
		readAnything(t, d, len(data))
	}
	runtime.ReadMemStats(&after)
	// 64 reads of 1 KiB may each decode a cluster of 2 MiB from 4 MiB; the whole disk is read once more.
	if took := after.TotalAlloc - before.TotalAlloc; took > 1<<30 || after.HeapAlloc > before.HeapAlloc+256<<20 {
		t.Errorf("%d bytes of file took %d bytes of memory", len(data), took)
	}
}

// readAnything reads a disk from any file of fileLen bytes.
func readAnything(t *testing.T, d image.Disk, fileLen int) {
	var places []image.Extent
	n, at, failed := 0, int64(0), false
	for e, err := range d.Extents() {
		if n++; err != nil {
			failed = true
			break
		}
		if e.Off != at || e.Len <= 0 || e.Len > d.Size()-at {
			t.Fatalf("extent %+v after byte %d of %d", e, at, d.Size())
		}
		if at += e.Len; len(places) < 32 {
			places = append(places, e)
		}
	}
	if !failed && at != d.Size() {
		t.Fatalf("extents of %d bytes, the disk has %d", at, d.Size())
	}
	if n > 2*fileLen+2 { // an entry has 8 bytes; with subclusters, 16 for 32 of them
		t.Fatalf("%d extents from %d bytes", n, fileLen)
	}
	buf := make([]byte, 1024)
	for _, e := range places {
		for _, off := range []int64{e.Off, e.Off + e.Len - 1} {
			n, err := d.ReadAt(buf, off)
			if err == nil && n != len(buf) || err == io.EOF && int64(n) != d.Size()-off {
				t.Fatalf("ReadAt(1024 bytes, %d) = %d, %v in a disk of %d", off, n, err, d.Size())
			}
			if same := min(int64(n), e.Off+e.Len-off); e.Zero && !bytes.Equal(buf[:same], make([]byte, same)) {
				t.Fatalf("an extent says zeros at byte %d, where there is data", off)
			}
		}
	}
	if d.Size() <= 1<<20 {
		whole, parts := make([]byte, d.Size()), make([]byte, 0, d.Size())
		if _, err := d.ReadAt(whole, 0); err != nil && err != io.EOF {
			return
		}
		for off := int64(0); off < d.Size(); off += 777 {
			n, err := d.ReadAt(buf[:777], off)
			if err != nil && err != io.EOF {
				t.Fatalf("the whole disk is readable, but byte %d is not: %v", off, err)
			}
			parts = append(parts, buf[:n]...)
		}
		if !bytes.Equal(whole, parts) {
			t.Fatal("the whole disk differs from its parts")
		}
	}
}
