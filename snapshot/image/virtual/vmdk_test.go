package virtual

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"platter/snapshot/image"
	"platter/snapshot/image/oracle"
)

// padded is a disk in a format that counts in sectors.
func padded(data []byte) []byte {
	return append(bytes.Clone(data), make([]byte, -len(data)&511)...)
}

// oddSizes are sizes of disks; formats round them up to sectors.
var oddSizes = []int{1, 512, 1000, 65536, 1 << 20, 5<<20 + 7, 9<<20 + 512}

// TestReadVMDK reads images from qemu-img.
func TestReadVMDK(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, options := range []string{
		"subformat=monolithicSparse", "subformat=monolithicFlat", "subformat=twoGbMaxExtentSparse", "subformat=twoGbMaxExtentFlat",
		"subformat=streamOptimized", "subformat=monolithicSparse,compat6=on", "subformat=monolithicSparse,zeroed_grain=on",
		"subformat=twoGbMaxExtentSparse,zeroed_grain=on", "subformat=streamOptimized,adapter_type=lsilogic",
	} {
		for _, size := range oddSizes {
			t.Run(fmt.Sprintf("%s/%d", options, size), func(t *testing.T) {
				dir := t.TempDir()
				d := randomDisk(rng, size)
				writeRaw(t, dir, d)
				qemuImg(t, dir, "convert", "-O", "vmdk", "-o", options, "disk.raw", "disk.vmdk")
				compare(t, mustOpen(t, filepath.Join(dir, "disk.vmdk"), "vmdk", Options{}), padded(d.Data))
			})
		}
	}
}

// TestReadZeroedVMDK reads grains that their entry makes zeros, over data and over nothing.
func TestReadZeroedVMDK(t *testing.T) {
	dir := t.TempDir()
	qemuImg(t, dir, "create", "-q", "-f", "vmdk", "-o", "zeroed_grain=on", "disk.vmdk", "3M")
	qemuIO(t, filepath.Join(dir, "disk.vmdk"), "vmdk", "write -P 7 0 1M", "write -z 64k 128k", "write -z 2M 64k")
	want := append(bytes.Repeat([]byte{7}, 1<<20), make([]byte, 2<<20)...)
	clear(want[64<<10 : 192<<10])
	d := mustOpen(t, filepath.Join(dir, "disk.vmdk"), "vmdk", Options{})
	compare(t, d, want)
	if got, want := zeroBytes(t, d), int64(2<<20+128<<10); got != want {
		t.Errorf("%d bytes are known to be zeros, want %d", got, want)
	}
}

// TestReadSplitVMDK reads disks of several parts.
func TestReadSplitVMDK(t *testing.T) {
	for _, subformat := range []string{"twoGbMaxExtentSparse", "twoGbMaxExtentFlat"} {
		dir := t.TempDir()
		size := int64(5<<30 + 3<<20)
		fills := []image.Fill{{Off: 0, Len: 1 << 20, Seed: 1}, {Off: 2047<<20 - 1000, Len: 3 << 20, Seed: 2}, {Off: size - 70000, Len: 70000, Seed: 3}}
		want := image.Sparse{Bytes: size, Fills: fills}
		raw, err := os.Create(filepath.Join(dir, "disk.raw"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range fills {
			p := make([]byte, f.Len)
			if _, err := want.ReadAt(p, f.Off); err != nil {
				t.Fatal(err)
			}
			if _, err := raw.WriteAt(p, f.Off); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(raw.Truncate(size), raw.Close()); err != nil {
			t.Fatal(err)
		}
		qemuImg(t, dir, "convert", "-O", "vmdk", "-o", "subformat="+subformat, "disk.raw", "disk.vmdk")
		if parts, _ := filepath.Glob(filepath.Join(dir, "disk-*.vmdk")); len(parts) != 3 {
			t.Errorf("%s: %d parts, want 3", subformat, len(parts))
		}
		d := mustOpen(t, filepath.Join(dir, "disk.vmdk"), "vmdk", Options{})
		same(t, d, want)
		if data := size - zeroBytes(t, d); data > 8<<20 {
			t.Errorf("%s: %d bytes of extents for 4 MiB of data", subformat, data)
		}
	}
}

// same compares disks that are too large for memory where either has data.
func same(t *testing.T, d, want image.Disk) {
	t.Helper()
	if d.Size() != want.Size() {
		t.Fatalf("Size() = %d, want %d", d.Size(), want.Size())
	}
	for _, of := range []image.Disk{d, want} {
		for e, err := range of.Extents() {
			if err != nil {
				t.Fatal(err)
			}
			for ; !e.Zero && e.Len > 0; e.Off, e.Len = e.Off+1<<20, e.Len-1<<20 {
				got, wanted := make([]byte, min(e.Len, 1<<20)), make([]byte, min(e.Len, 1<<20))
				if n, err := d.ReadAt(got, e.Off); n < len(got) {
					t.Fatal(err)
				}
				if n, err := want.ReadAt(wanted, e.Off); n < len(wanted) {
					t.Fatal(err)
				}
				if !bytes.Equal(got, wanted) {
					t.Fatalf("the disks differ in the MiB at byte %d", e.Off)
				}
			}
		}
	}
}

func zeroBytes(t testing.TB, d image.Disk) (n int64) {
	t.Helper()
	for e, err := range d.Extents() {
		if err != nil {
			t.Fatal(err)
		}
		if e.Zero {
			n += e.Len
		}
	}
	return n
}

// TestReadVMDKDifference checks that a parent is opened only on request, and never if it changed after the child was
// made.
func TestReadVMDKDifference(t *testing.T) {
	dir := t.TempDir()
	d := randomDisk(rand.New(rand.NewPCG(1, 3)), 5<<20)
	writeRaw(t, dir, d)
	qemuImg(t, dir, "convert", "-O", "vmdk", "disk.raw", "base.vmdk")
	qemuImg(t, dir, "create", "-q", "-f", "vmdk", "-o", "zeroed_grain=on", "-F", "vmdk", "-b", "base.vmdk", "middle.vmdk")
	qemuIO(t, filepath.Join(dir, "middle.vmdk"), "vmdk", "write -P 9 1M 100k", "write -z 2M 1M")
	qemuImg(t, dir, "create", "-q", "-f", "vmdk", "-F", "vmdk", "-b", "middle.vmdk", "top.vmdk", "6M")
	qemuIO(t, filepath.Join(dir, "top.vmdk"), "vmdk", "write -P 8 2100k 10k", "write -P 5 5900k 4k")
	qemuImg(t, dir, "convert", "-O", "raw", "top.vmdk", "want.raw")
	want, err := os.ReadFile(filepath.Join(dir, "want.raw"))
	if err != nil {
		t.Fatal(err)
	}
	compare(t, mustOpen(t, filepath.Join(dir, "top.vmdk"), "vmdk", Options{FollowBacking: true}), want)
	opensNot(t, filepath.Join(dir, "top.vmdk"), "vmdk", Options{}, ErrUnsupported, "--follow-backing")
	qemuIO(t, filepath.Join(dir, "base.vmdk"), "vmdk", "write -P 1 0 1k")
	opensNot(t, filepath.Join(dir, "top.vmdk"), "vmdk", Options{FollowBacking: true}, ErrDamaged, "written to after")
}

// opensNot checks that a file is refused, with an error of a class that contains a word.
func opensNot(t *testing.T, path, format string, o Options, class error, word string) {
	t.Helper()
	f, err := image.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	d, err := Open(f, format, o)
	if err == nil {
		_ = d.Close()
		t.Errorf("the file opens; want an error about %q", word)
	} else if !errors.Is(err, class) || !strings.Contains(err.Error(), word) {
		t.Errorf("%v: want %v, and %q", err, class, word)
	}
}

// TestWriteVMDK writes disks that qemu-img and this package read back.
func TestWriteVMDK(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 4))
	for _, size := range append(oddSizes, 70<<20+3) {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			dir := t.TempDir()
			d := randomDisk(rng, size)
			writeRaw(t, dir, d)
			path := writeAs(t, dir, "vmdk", d, CreateOptions{})
			compare(t, mustOpen(t, path, "vmdk", Options{}), padded(d.Data))
			qemuImg(t, dir, "check", "disk.vmdk")
			qemuImg(t, dir, "compare", "disk.raw", "disk.vmdk")
			qemuImg(t, dir, "convert", "-O", "raw", "disk.vmdk", "back.raw")
			if back, err := os.ReadFile(filepath.Join(dir, "back.raw")); err != nil || !bytes.Equal(back, padded(d.Data)) {
				t.Errorf("qemu-img reads another disk (%v)", err)
			}
		})
	}
}

// TestWriteLargeVMDK writes disks with many grain tables, most of them missing.
func TestWriteLargeVMDK(t *testing.T) {
	d := image.Sparse{Bytes: 3<<40 + 512, Fills: []image.Fill{
		{Off: 1 << 20, Len: 40 << 20, Seed: 1}, {Off: 2<<40 - 4096, Len: 1 << 20, Seed: 2}, {Off: 3 << 40, Len: 512, Seed: 3},
	}}
	path := filepath.Join(t.TempDir(), "disk.vmdk")
	writeSparse(t, path, "vmdk", d, CreateOptions{})
	same(t, mustOpen(t, path, "vmdk", Options{}), d)
	qemuImg(t, ".", "check", path)
}

func writeSparse(t testing.TB, path, format string, d image.Disk, o CreateOptions) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w, err := Create(f, format, d.Size(), o)
	if err == nil {
		err = copyTo(w, d)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// copyTo writes a disk, and skips its zeros.
func copyTo(w Writer, d image.Disk) error {
	buf := make([]byte, 1<<20)
	for e, err := range d.Extents() {
		if err == nil && e.Zero {
			err = w.Skip(e.Len)
		}
		for ; err == nil && !e.Zero && e.Len > 0; e.Off, e.Len = e.Off+1<<20, e.Len-1<<20 {
			p := buf[:min(e.Len, 1<<20)]
			if n, err := d.ReadAt(p, e.Off); n < len(p) {
				return err
			}
			_, err = w.Write(p)
		}
		if err != nil {
			return err
		}
	}
	return w.Close()
}

// TestRealContent converts a file system with real files to every kind of file, and back.
func TestRealContent(t *testing.T) {
	dir := t.TempDir()
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(strings.TrimSpace(string(goroot)), "src", "net")
	oracle.Run(t, "mke2fs", "-q", "-F", "-t", "ext4", "-d", root, filepath.Join(dir, "disk.raw"), "96M")
	raw, err := image.Open(filepath.Join(dir, "disk.raw"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = raw.Close() })
	for i, c := range [][2]string{
		{"vmdk", "subformat=monolithicSparse"},
		{"vmdk", "subformat=monolithicFlat"},
		{"vmdk", "subformat=twoGbMaxExtentSparse"},
		{"vmdk", "subformat=twoGbMaxExtentFlat"},
		{"vmdk", "subformat=streamOptimized"},
		{"vdi", "static=off"},
		{"vdi", "static=on"},
	} {
		name := fmt.Sprintf("theirs%d.%s", i, c[0])
		qemuImg(t, dir, "convert", "-O", c[0], "-o", c[1], "disk.raw", name)
		same(t, mustOpen(t, filepath.Join(dir, name), c[0], Options{}), raw)
	}
	for _, format := range []string{"vmdk", "vdi"} {
		path := filepath.Join(dir, "ours."+format)
		writeSparse(t, path, format, raw, CreateOptions{Extents: raw.Extents})
		same(t, mustOpen(t, path, format, Options{}), raw)
		qemuImg(t, dir, "check", "ours."+format)
		qemuImg(t, dir, "compare", "disk.raw", "ours."+format)
	}
}
