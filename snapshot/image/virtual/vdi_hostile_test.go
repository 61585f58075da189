package virtual

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
)

// smallVDI makes a disk of five and a part of a block. Its blocks are out of order, with extra data before each; one
// is free and one is zeros. It returns the file and the disk.
func smallVDI(block, extra int) (file, disk []byte) {
	const data = 1024
	entries := []uint32{2, vdiFree, 0, vdiZero, 3, 1}
	file = make([]byte, data+4*(block+extra))
	disk = make([]byte, 5*block+512)
	le := binary.LittleEndian
	copy(file[0x40:], vdiMagic)
	for at, v := range map[int]uint32{
		0x44: vdiVersion, 0x48: 400, 0x4c: vdiDynamic, 0x154: 512, 0x158: data, 0x168: 512,
		0x170: uint32(len(disk)), 0x178: uint32(block), 0x17c: uint32(extra), 0x180: 6, 0x184: 4,
	} {
		le.PutUint32(file[at:], v)
	}
	file[0x188], file[0x198] = 1, 2
	for i, entry := range entries {
		le.PutUint32(file[512+4*i:], entry)
		if entry < vdiZero {
			at := data + int(entry)*(block+extra)
			copy(file[at:at+extra], bytes.Repeat([]byte{0xee}, extra))
			copy(file[at+extra:at+extra+block], bytes.Repeat([]byte{byte(i + 1)}, block))
			copy(disk[i*block:], file[at+extra:at+extra+block])
		}
	}
	return file, disk
}

// TestReadOtherVDI reads disks that qemu-img does not make.
func TestReadOtherVDI(t *testing.T) {
	for _, block := range []int{4096, 65536, 512 << 10, 1 << 20, 2 << 20} {
		for _, extra := range []int{0, 512} {
			file, disk := smallVDI(block, extra)
			path := writeFile(t, filepath.Join(t.TempDir(), "disk.vdi"), file)
			d := mustOpen(t, path, "vdi", Options{})
			compare(t, d, disk)
			if got := zeroBytes(t, d); got != int64(2*block) {
				t.Errorf("blocks of %d bytes: %d bytes are known to be zeros, want %d", block, got, 2*block)
			}
			if block == 1<<20 && extra == 0 {
				writeFile(t, filepath.Join(filepath.Dir(path), "disk.raw"), disk)
				qemuImg(t, filepath.Dir(path), "compare", "disk.raw", "disk.vdi")
			}
		}
	}
}

// TestHostileVDI checks that each false field of a VDI is an error.
func TestHostileVDI(t *testing.T) {
	for name, c := range map[string]struct {
		edit  func([]byte) []byte
		class error
		word  string
	}{
		"only a header":            {cut(512), ErrDamaged, "block map"},
		"half a header":            {cut(100), ErrDamaged, "ends before"},
		"other magic":              {put32le(0x40, 1), ErrDamaged, "no VDI header"},
		"old version":              {put32le(0x44, 2), ErrUnsupported, "version 0.2"},
		"new version":              {put32le(0x44, 2<<16), ErrUnsupported, "version 2.0"},
		"undo":                     {put32le(0x4c, 3), ErrUnsupported, "differencing image"},
		"a difference":             {put32le(0x4c, 4), ErrUnsupported, "differencing image"},
		"difference by its parent": {put32le(0x1a8, 1), ErrUnsupported, "differencing image"},
		"difference by content":    {put32le(0x1c4, 1), ErrUnsupported, "differencing image"},
		"no kind":                  {put32le(0x4c, 0), ErrUnsupported, "differencing image"},
		"no block":                 {put32le(0x178, 0), ErrDamaged, "blocks of 0"},
		"odd block":                {put32le(0x178, 5000), ErrDamaged, "blocks of 5000"},
		"huge block":               {put32le(0x178, 1<<31), ErrDamaged, "blocks of"},
		"tiny block":               {put32le(0x178, 512), ErrDamaged, "blocks of 512"},
		"endless extra":            {put32le(0x17c, 1<<31), ErrDamaged, "before each block"},
		"no size":                  {put64le(0x170, 0), ErrDamaged, "a disk of 0"},
		"size beyond its blocks":   {put64le(0x170, 6*4096+1), ErrDamaged, "in 6 blocks"},
		"endless size":             {put64le(0x170, 1<<64-1), ErrDamaged, "a disk of"},
		"endless blocks":           {put32le(0x180, 1<<32-1), ErrUnsupported, "blocks"},
		"map past the end":         {put32le(0x180, 1<<20), ErrDamaged, "block map"},
		"map in the header":        {put32le(0x154, 72), ErrDamaged, "block map"},
		"map off its place":        {put32le(0x154, 514), ErrDamaged, "block map"},
		"data in the map":          {put32le(0x158, 516), ErrDamaged, "inside its block map"},
		"data past the end":        {put32le(0x158, 1<<31), ErrDamaged, "which does not exist"},
		"block past the end":       {put32le(512, 4), ErrDamaged, "which does not exist"},
		"block beyond the disk's":  {put32le(512, 6), ErrDamaged, "which does not exist"},
		"endless block":            {put32le(512, vdiZero-1), ErrDamaged, "which does not exist"},
		"last block cut off":       {cut(1024 + 4*4096 - 1), ErrDamaged, "which does not exist"},
		"one block twice":          {put32le(512, 0), ErrDamaged, "another one"},
	} {
		t.Run(name, func(t *testing.T) {
			file, _ := smallVDI(4096, 0)
			broken(t, writeFile(t, filepath.Join(t.TempDir(), "disk.vdi"), c.edit(file)), "vdi", c.class, c.word, false)
		})
	}
	path := writeFile(t, filepath.Join(t.TempDir(), "disk.vdi"), make([]byte, 512))
	opensNot(t, path, "vdi", Options{Snapshot: "one"}, ErrUnsupported, "no snapshots")
	opensNot(t, path, "vmdk", Options{Snapshot: "one"}, ErrUnsupported, "no snapshots")
}

// TestCreateRefuses checks that a disk that a format cannot hold is refused before anything is written.
func TestCreateRefuses(t *testing.T) {
	for _, format := range []string{"vmdk", "vdi"} {
		for _, size := range []int64{-1, 0, 1<<46 + 1} {
			var out bytes.Buffer
			if _, err := Create(&out, format, size, CreateOptions{}); err == nil || out.Len() > 0 {
				t.Errorf("%s of %d bytes: %v, %d bytes written", format, size, err, out.Len())
			}
		}
	}
}

// TestFailingWriter fails each write in turn: the Writer must return an error.
func TestFailingWriter(t *testing.T) {
	d := randomDisk(rand.New(rand.NewPCG(3, 1)), 40<<20)
	for _, format := range []string{"vmdk", "vdi"} {
		for n := 0; ; n++ {
			out := &failing{after: n}
			w, err := Create(out, format, d.Size(), CreateOptions{Extents: d.Extents})
			if err == nil {
				err = feed(w, d)
			}
			if out.failed && err == nil {
				t.Fatalf("%s: write %d failed, but the Writer returned no error", format, n)
			} else if !out.failed {
				if err != nil {
					t.Fatal(err)
				}
				if n < 3 {
					t.Errorf("%s: only %d writes", format, n)
				}
				break
			}
		}
	}
}

type failing struct {
	after  int
	failed bool
}

func (f *failing) Write(p []byte) (int, error) {
	if f.after--; f.after < 0 {
		f.failed = true
		return 0, fmt.Errorf("the disk is full")
	}
	return len(p), nil
}
