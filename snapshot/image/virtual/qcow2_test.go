package virtual

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"platter/snapshot/image"
)

// TestQcow2Reads compares images that qemu-img made with the raw disks they were made from.
func TestQcow2Reads(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 1))
	tests := []struct{ options, more string }{
		{"cluster_size=512", ""},
		{"cluster_size=4096", ""},
		{"cluster_size=65536", ""},
		{"cluster_size=2097152", ""},
		{"compat=0.10", ""},
		{"compat=0.10,cluster_size=512", "-c"},
		{"compat=0.10", "-c"},
		{"cluster_size=512", "-c"},
		{"cluster_size=4096", "-c"},
		{"cluster_size=65536", "-c"},
		{"cluster_size=2097152", "-c"},
		{"compression_type=zstd,cluster_size=512", "-c"},
		{"compression_type=zstd,cluster_size=4096", "-c"},
		{"compression_type=zstd", "-c"},
		{"compression_type=zstd,cluster_size=2097152", "-c"},
		{"extended_l2=on", ""},
		{"extended_l2=on,cluster_size=16384", ""},
		{"extended_l2=on,cluster_size=2097152", ""},
		{"extended_l2=on", "-c"},
		{"extended_l2=on,compression_type=zstd", "-c"},
		{"preallocation=metadata", ""},
		{"preallocation=falloc", ""},
		{"preallocation=full", ""},
		{"preallocation=metadata,extended_l2=on", ""},
		{"lazy_refcounts=on", ""},
		{"refcount_bits=1", ""},
		{"refcount_bits=64", ""},
		{"cluster_size=65536", "-S0"},
	}
	for _, tt := range tests {
		sizes := []int{1<<20 + 1537}
		if !testing.Short() {
			sizes = []int{1000, 65536, 5<<20 + 1537}
		}
		for _, size := range sizes {
			t.Run(fmt.Sprintf("%s%s/%d", tt.options, tt.more, size), func(t *testing.T) {
				dir, d := t.TempDir(), randomDisk(rng, size)
				args := []string{"convert", "-f", "raw", "-O", "qcow2", "-o", tt.options}
				if tt.more != "" {
					args = append(args, tt.more)
				}
				qemuImg(t, dir, append(args, writeRaw(t, dir, d), "disk.qcow2")...)
				compare(t, mustOpen(t, filepath.Join(dir, "disk.qcow2"), "qcow2", Options{}), sectors(d.Data))
			})
		}
	}
}

// sectors pads a disk to a multiple of 512 bytes, as QEMU does.
func sectors(p []byte) []byte { return append(p[:len(p):len(p)], make([]byte, -len(p)&511)...) }

// TestQcow2Writes checks what the package writes with qemu-img, and reads it back.
func TestQcow2Writes(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	for _, compress := range []bool{false, true} {
		for _, size := range []int{0, 1, 512, 1000, 65535, 65536, 3<<20 + 513, 20<<20 + 1536} {
			t.Run(fmt.Sprintf("%v/%d", compress, size), func(t *testing.T) {
				dir, d := t.TempDir(), randomDisk(rng, size)
				path := writeAs(t, dir, "qcow2", d, CreateOptions{Compress: compress})
				qemuImg(t, dir, "check", path)
				if size > 0 {
					qemuImg(t, dir, "compare", "-f", "raw", "-F", "qcow2", writeRaw(t, dir, d), path)
				}
				compare(t, mustOpen(t, path, "qcow2", Options{}), sectors(d.Data))
				if info, err := os.Stat(path); err != nil || info.Size()%qcowWriteCluster != 0 {
					t.Errorf("%v, %v: want a multiple of a cluster", info.Size(), err)
				}
			})
		}
	}
}

// TestQcow2PacksForASmallWindow checks that no match goes further back than QEMU's window. QEMU itself is no oracle:
// zlib looks further back as long as the whole output is in memory.
func TestQcow2PacksForASmallWindow(t *testing.T) {
	p, err := newQcowPacker(&creation{Writer: holey{}})
	if err != nil {
		t.Fatal(err)
	}
	rng, cluster := rand.New(rand.NewPCG(2, 3)), make([]byte, qcowWriteCluster)
	for _, period := range []int{100, 4000, 4090, 4097, 4100, 5000, 8000, 30000} {
		for i := range cluster {
			if i < period {
				cluster[i] = byte(rng.Uint32())
			} else {
				cluster[i] = cluster[i-period]
			}
		}
		coded, err := p.encode(cluster)
		if err != nil {
			t.Fatal(err)
		}
		if small := len(coded) < len(cluster)/2; small != (period <= 4096) {
			t.Errorf("data with a period of %d bytes compresses to %d bytes", period, len(coded))
		}
	}
}

// TestQcow2Streams checks that a stream gets the same bytes as a file, even if data extents turn out to be zeros, and
// that wrong extents are an error.
func TestQcow2Streams(t *testing.T) {
	const size = 1<<30 + 3*qcowWriteCluster + 1000
	extents := func(yield func(image.Extent, error) bool) {
		for off := int64(0); off < size; off += 300 << 20 { // aligned to clusters and not, in several L2 tables
			n := min(5*qcowWriteCluster-100, size-off)
			if !yield(image.Extent{Off: off, Len: n}, nil) ||
				!yield(image.Extent{Off: off + n, Len: min(300<<20-n, size-off-n), Zero: true}, nil) {
				return
			}
		}
	}
	var last string
	for _, skip := range []bool{false, true} {
		path := filepath.Join(t.TempDir(), "disk.qcow2")
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		w, err := Create(struct{ io.Writer }{f}, "qcow2", size, CreateOptions{Extents: func() iter.Seq2[image.Extent, error] { return extents }})
		if err != nil {
			t.Fatal(err)
		}
		data := bytes.Repeat([]byte{7}, 3*qcowWriteCluster)
		_, err = w.Write(data)
		if skip {
			err = errors.Join(err, w.Skip(size-int64(len(data))))
		} else {
			err = errors.Join(err, writeZeros(w, size-int64(len(data))))
		}
		if err := errors.Join(err, w.Close(), f.Close()); err != nil {
			t.Fatal(err)
		}
		qemuImg(t, "", "check", path)
		d := mustOpen(t, path, "qcow2", Options{})
		got := make([]byte, 6*qcowWriteCluster)
		if _, err := d.ReadAt(got, 0); err != nil || !bytes.Equal(got, append(data, make([]byte, len(data))...)) {
			t.Errorf("the disk differs: %v", err)
		}
		all, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if last != "" && last != string(all) {
			t.Error("zeros that are skipped and zeros that are written make different files")
		}
		last = string(all)
	}

	w, err := Create(io.Discard, "qcow2", size, CreateOptions{Extents: func() iter.Seq2[image.Extent, error] { return extents }})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Skip(100 << 20); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte{0, 0, 1}); err == nil {
		t.Error("data where the extents say zeros is silently lost")
	}
	if _, err := Create(io.Discard, "qcow2", size, CreateOptions{Compress: true}); !errors.Is(err, ErrUnsupported) {
		t.Errorf("compressed to a stream: %v, want ErrUnsupported", err)
	}
}

func writeZeros(w io.Writer, n int64) error {
	_, err := io.CopyN(w, zeroReader{}, n)
	return err
}

type zeroReader struct{}

func (zeroReader) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// TestQcow2WritesHuge checks that the file of an almost empty disk is small, up to the largest disk.
func TestQcow2WritesHuge(t *testing.T) {
	for _, compress := range []bool{false, true} {
		for _, size := range []int64{1 << 44, 1 << 51} {
			d := image.Sparse{Bytes: size, Fills: []image.Fill{{Off: size - 100, Len: 100, Seed: 1}}}
			path := filepath.Join(t.TempDir(), "disk.qcow2")
			f, err := os.Create(path)
			if err != nil {
				t.Fatal(err)
			}
			w, err := Create(f, "qcow2", size, CreateOptions{Compress: compress, Extents: d.Extents})
			if err != nil {
				t.Fatal(err)
			}
			want := make([]byte, 100)
			_, err = d.ReadAt(want, size-100)
			err = errors.Join(err, w.Skip(size-100))
			_, writeErr := w.Write(want)
			if err := errors.Join(err, writeErr, w.Close(), f.Close()); err != nil {
				t.Fatal(err)
			}
			qemuImg(t, "", "check", path)
			q, got := mustOpen(t, path, "qcow2", Options{}), make([]byte, 100)
			if _, err := q.ReadAt(got, size-100); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%d: the end differs: %v", size, err)
			}
			if n := len(extentsOf(t, q)); n != 2 {
				t.Errorf("%d: %d extents, want 2", size, n)
			}
		}
	}
	if _, err := Create(io.Discard, "qcow2", 1<<51+1, CreateOptions{}); !errors.Is(err, ErrUnsupported) {
		t.Errorf("a disk of more than 2 PiB: %v, want ErrUnsupported", err)
	}
}

func extentsOf(t testing.TB, d image.Disk) (all []image.Extent) {
	t.Helper()
	for e, err := range d.Extents() {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}
