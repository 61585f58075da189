package virtual

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"platter/snapshot/image"
)

// TestReadVDI reads images from qemu-img.
func TestReadVDI(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 1))
	for _, static := range []string{"off", "on"} {
		for _, size := range oddSizes {
			t.Run(fmt.Sprintf("static=%s/%d", static, size), func(t *testing.T) {
				dir := t.TempDir()
				d := randomDisk(rng, size)
				writeRaw(t, dir, d)
				qemuImg(t, dir, "convert", "-O", "vdi", "-o", "static="+static, "disk.raw", "disk.vdi")
				compare(t, mustOpen(t, filepath.Join(dir, "disk.vdi"), "vdi", Options{}), padded(d.Data))
			})
		}
	}
}

// TestReadStaticVDI checks that holes of the file are not read.
func TestReadStaticVDI(t *testing.T) {
	dir := t.TempDir()
	qemuImg(t, dir, "create", "-q", "-f", "vdi", "-o", "static=on", "disk.vdi", "1G")
	qemuIO(t, filepath.Join(dir, "disk.vdi"), "vdi", "write -P 7 100M 1M")
	d := mustOpen(t, filepath.Join(dir, "disk.vdi"), "vdi", Options{})
	if data := d.Size() - zeroBytes(t, d); data > 2<<20 {
		t.Errorf("%d bytes of extents for 1 MiB of data", data)
	}
}

// TestWriteVDI writes disks to files and streams. qemu-img and this package read them back.
func TestWriteVDI(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	for _, size := range oddSizes {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			dir := t.TempDir()
			d := randomDisk(rng, size)
			writeRaw(t, dir, d)
			whole := image.Mem{Data: d.Data} // claims that everything is data
			for name, o := range map[string]CreateOptions{"file": {}, "known": {Extents: d.Extents}, "all": {Extents: whole.Extents}} {
				var out bytes.Buffer
				path := filepath.Join(dir, name+".vdi")
				f, err := os.Create(path)
				if err != nil {
					t.Fatal(err)
				}
				w := io.Writer(f)
				if name != "file" {
					w = &out
				}
				v, err := Create(w, "vdi", d.Size(), o)
				if err == nil {
					err = feed(v, d)
				}
				if err == nil && name != "file" {
					_, err = f.Write(out.Bytes())
				}
				if err != nil {
					t.Fatal(err)
				}
				if err := f.Close(); err != nil {
					t.Fatal(err)
				}
				compare(t, mustOpen(t, path, "vdi", Options{}), padded(d.Data))
				qemuImg(t, dir, "check", name+".vdi")
				qemuImg(t, dir, "compare", "disk.raw", name+".vdi")
			}
		})
	}
	if _, err := Create(&bytes.Buffer{}, "vdi", 10, CreateOptions{}); err == nil {
		t.Error("a stream is accepted without extents")
	}
}

// TestWriteVDIWrongly checks that data where the extents say zeros is an error, not a broken file.
func TestWriteVDIWrongly(t *testing.T) {
	zeros := image.Mem{Data: make([]byte, 3<<20), Holes: true}
	w, err := Create(&bytes.Buffer{}, "vdi", zeros.Size(), CreateOptions{Extents: zeros.Extents})
	if err != nil {
		t.Fatal(err)
	}
	if err := feed(w, image.Mem{Data: bytes.Repeat([]byte{1}, 3<<20)}); err == nil {
		t.Error("data outside the extents is accepted")
	}
}

// TestWriteLargeVDI writes a disk with a large map, most of it free.
func TestWriteLargeVDI(t *testing.T) {
	d := image.Sparse{Bytes: 3<<40 + 512, Fills: []image.Fill{
		{Off: 1 << 20, Len: 4 << 20, Seed: 1}, {Off: 2<<40 - 4096, Len: 1 << 20, Seed: 2}, {Off: 3 << 40, Len: 512, Seed: 3},
	}}
	path := filepath.Join(t.TempDir(), "disk.vdi")
	writeSparse(t, path, "vdi", d, CreateOptions{Extents: d.Extents})
	same(t, mustOpen(t, path, "vdi", Options{}), d)
	qemuImg(t, ".", "check", path)
}
