package virtual

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"platter/snapshot/image"
)

// benchDisk is 1 GiB of text, noise and zeros.
func benchDisk() image.Mem {
	part := randomDisk(rand.New(rand.NewPCG(4, 1)), 64<<20).Data
	return image.Mem{Data: bytes.Repeat(part, 16), Holes: true}
}

// BenchmarkReadVMDK reads a stream-optimized disk of 1 GiB, in pieces of 1 MiB as a backup does, and compares with
// qemu-img.
func BenchmarkReadVMDK(b *testing.B) {
	dir := b.TempDir()
	d := benchDisk()
	path := writeAs(b, dir, "vmdk", d, CreateOptions{})
	for _, readers := range []int{1, 2} {
		b.Run(fmt.Sprintf("%d readers", readers), func(b *testing.B) {
			b.SetBytes(d.Size())
			for b.Loop() {
				readAll(b, mustOpen(b, path, "vmdk", Options{}), readers)
			}
		})
	}
	b.Run("qemu-img convert", func(b *testing.B) {
		b.SetBytes(d.Size())
		for b.Loop() {
			qemuImg(b, dir, "convert", "-O", "raw", "disk.vmdk", "back.raw")
		}
	})
}

// BenchmarkWriteVMDK writes a stream-optimized disk of 1 GiB, and compares with qemu-img.
func BenchmarkWriteVMDK(b *testing.B) {
	dir := b.TempDir()
	d := benchDisk()
	writeRaw(b, dir, d)
	b.Run("platter", func(b *testing.B) {
		b.SetBytes(d.Size())
		for b.Loop() {
			info, err := os.Stat(writeAs(b, dir, "vmdk", d, CreateOptions{}))
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(info.Size())/(1<<20), "MiB")
		}
	})
	b.Run("qemu-img convert", func(b *testing.B) {
		b.SetBytes(d.Size())
		for b.Loop() {
			qemuImg(b, dir, "convert", "-O", "vmdk", "-o", "subformat=streamOptimized", "disk.raw", "theirs.vmdk")
			info, err := os.Stat(filepath.Join(dir, "theirs.vmdk"))
			if err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(info.Size())/(1<<20), "MiB")
		}
	})
}
