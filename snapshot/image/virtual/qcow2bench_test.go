package virtual

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

// BenchmarkQcow2 reads a disk as a backup does, in pieces of 1 MiB from several goroutines, and has qemu-img convert
// the same image. Both read from the page cache. x-qemu is platter's time divided by qemu-img's when that writes a
// raw file, and x-qemu-null when it writes nowhere; below 1 means faster.
func BenchmarkQcow2(b *testing.B) {
	for _, bb := range []struct {
		name string
		size int
		args []string
	}{
		{"plain", 1 << 30, nil},
		{"plain-4K", 1 << 30, []string{"-o", "cluster_size=4096"}},
		{"zlib", 256 << 20, []string{"-c"}},
		{"zstd", 256 << 20, []string{"-c", "-o", "compression_type=zstd"}},
	} {
		b.Run(bb.name, func(b *testing.B) {
			dir := b.TempDir()
			raw, path := filepath.Join(dir, "disk.raw"), filepath.Join(dir, "disk.qcow2")
			writeRepeated(b, raw, randomDisk(rand.New(rand.NewPCG(2, 6)), 64<<20).Data, bb.size)
			qemuImg(b, dir, append(append([]string{"convert", "-f", "raw", "-O", "qcow2"}, bb.args...), raw, path)...)
			ours := shortest(func() { readAll(b, mustOpen(b, path, "qcow2", Options{}), runtime.GOMAXPROCS(0)) })
			raws := shortest(func() { qemuImg(b, dir, "convert", "-f", "qcow2", "-O", "raw", path, raw) })
			null := shortest(func() {
				qemuImg(b, dir, "convert", "-n", "-f", "qcow2", path, "--target-image-opts", fmt.Sprintf("driver=null-co,size=%d", bb.size))
			})
			b.SetBytes(int64(bb.size))
			for b.Loop() {
				readAll(b, mustOpen(b, path, "qcow2", Options{}), runtime.GOMAXPROCS(0))
			}
			b.ReportMetric(ours.Seconds()/raws.Seconds(), "x-qemu")
			b.ReportMetric(ours.Seconds()/null.Seconds(), "x-qemu-null")
		})
	}
}

// shortest returns the shortest time of a few runs.
func shortest(do func()) time.Duration {
	best := time.Duration(1<<63 - 1)
	for range 5 {
		start := time.Now()
		do()
		best = min(best, time.Since(start))
	}
	return best
}

func writeRepeated(b *testing.B, path string, data []byte, size int) {
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	for n := 0; n < size && err == nil; n += len(data) {
		_, err = f.Write(data)
	}
	if err != nil || f.Close() != nil {
		b.Fatal(err)
	}
}
