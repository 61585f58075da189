package virtual

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// BenchmarkVHDRead reads a disk of 1 GiB from qemu-img, half of it data, in pieces of 1 MiB, and has qemu-img convert
// it to nothing.
func BenchmarkVHDRead(b *testing.B) {
	const size = 1 << 30
	dir := b.TempDir()
	rng := rand.New(rand.NewPCG(10, 1))
	raw, err := os.Create(filepath.Join(dir, "raw"))
	if err != nil {
		b.Fatal(err)
	}
	block := make([]byte, 1<<20)
	for off := int64(0); off < size; off += 2 << 20 {
		for i := range block {
			block[i] = byte(rng.Uint32())
		}
		if _, err := raw.WriteAt(block, off); err != nil {
			b.Fatal(err)
		}
	}
	if err := raw.Truncate(size); err != nil {
		b.Fatal(err)
	}
	if err := raw.Close(); err != nil {
		b.Fatal(err)
	}
	for _, c := range []struct{ name, qemu, options string }{{VHDX, "vhdx", "block_size=1M"}, {VHD, "vpc", "force_size=on"}} {
		qemuImg(b, dir, "convert", "-f", "raw", "-O", c.qemu, "-o", c.options, "raw", c.name)
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(size)
			for b.Loop() {
				readAll(b, mustOpen(b, filepath.Join(dir, c.name), c.name, Options{}), 2)
			}
		})
		b.Run(c.name+"/qemu-img", func(b *testing.B) {
			b.SetBytes(size)
			for b.Loop() {
				qemuImg(b, dir, "convert", "-n", "-f", c.qemu, "--target-image-opts", c.name, "driver=null-co,size=1G")
			}
		})
	}
}
