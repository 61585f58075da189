package virtual

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"platter/snapshot/image"
)

// BenchmarkVHDRead reads a disk of 1 GiB, half of it data, as qemu-img made it, a MiB at a time; beside it qemu-img, which
// converts it into nothing.
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
				readAll(b, filepath.Join(dir, c.name), c.name)
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

// readAll reads what of a disk is data.
func readAll(b *testing.B, path, name string) {
	f, err := image.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	d, err := Open(f, name, Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close()
	buf := make([]byte, 1<<20)
	for e, err := range d.Extents() {
		if err != nil {
			b.Fatal(err)
		}
		for off := e.Off; !e.Zero && off < e.Off+e.Len; off += int64(len(buf)) {
			p := buf[:min(int64(len(buf)), e.Off+e.Len-off)]
			if n, err := d.ReadAt(p, off); n < len(p) {
				b.Fatal(err)
			}
		}
	}
}
