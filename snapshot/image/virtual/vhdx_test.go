package virtual

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
)

// TestVHDXRead reads images from qemu-img.
func TestVHDXRead(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 1))
	read := func(size int, options string) {
		if testing.Short() && size > 6<<20 {
			return
		}
		t.Run(fmt.Sprintf("%d %s", size, options), func(t *testing.T) {
			d := randomDisk(rng, size)
			path := converted(t, d, "vhdx", options)
			compare(t, mustOpen(t, path, VHDX, Options{}), filledUp(d.Data, qemuSize(t, filepath.Dir(path), path, "vhdx")))
		})
	}
	for _, size := range []int{1, 1000, 1 << 20, 1<<20 + 512, 5<<20 + 7, 33 << 20} {
		for _, subformat := range []string{"dynamic", "fixed"} {
			for _, zero := range []string{"on", "off"} {
				read(size, fmt.Sprintf("subformat=%s,block_size=1M,block_state_zero=%s", subformat, zero))
			}
		}
	}
	for _, block := range []int{2, 8, 16, 32, 256} {
		for _, subformat := range []string{"dynamic", "fixed"} {
			read(35<<20+512*3, fmt.Sprintf("subformat=%s,block_size=%dM", subformat, block))
		}
	}
	for _, log := range []int{1, 2, 64, 256} {
		read(3<<20, fmt.Sprintf("subformat=dynamic,log_size=%dM", log))
	}
}

// TestVHDXWrite writes disks, which qemu-img must read with the same content and find valid.
func TestVHDXWrite(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 2))
	for _, size := range []int{1, 512, 1000, 1<<20 - 1, 1 << 20, 1<<20 + 1, 5<<20 + 7, 33<<20 + 512} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			dir, d := t.TempDir(), randomDisk(rng, size)
			raw, path := writeRaw(t, dir, d), writeAs(t, dir, VHDX, d, CreateOptions{})
			whole := int64(size+511) / 512 * 512
			compare(t, mustOpen(t, path, VHDX, Options{}), filledUp(d.Data, whole))
			if got := qemuSize(t, dir, path, "vhdx"); got != whole {
				t.Errorf("qemu-img says %d bytes, want %d", got, whole)
			}
			qemuImg(t, dir, "check", "-f", "vhdx", path)
			qemuImg(t, dir, "compare", "-f", "raw", "-F", "vhdx", raw, path)
		})
	}
}

// TestVHDXHoles checks that unwritten parts of a fixed disk are not read.
func TestVHDXHoles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk")
	qemuImg(t, "", "create", "-f", "vhdx", "-o", "subformat=fixed,block_state_zero=off", path, "200M")
	qemuIO(t, path, "vhdx", "write -P 1 100M 1M")
	d := mustOpen(t, path, VHDX, Options{})
	if data := d.Size() - zeroBytes(t, d); data < 1<<20 || data > 3<<20 {
		t.Errorf("%d bytes of data, of 1 MiB", data)
	}
}
