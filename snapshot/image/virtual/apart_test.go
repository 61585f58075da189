package virtual

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"platter/snapshot/image"
)

// TestApart compares apart with a brute-force check of random runs, for several limits on the spans in memory.
func TestApart(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	overlapping := 0
	for range 3000 {
		size, n := int64(1)<<(10+rng.IntN(30)), int64(1+rng.IntN(64))
		spans := make([]span, rng.IntN(40))
		for i := range spans {
			spans[i] = span{rng.Int64N(size/n+1) * n, 1 + rng.Int64N(n)}
			if rng.IntN(8) == 0 {
				spans[i].at += rng.Int64N(n)
			}
		}
		want := false
		for i, a := range spans {
			want = want || slices.ContainsFunc(spans[:i], func(b span) bool { return vhdOverlap(a.at, a.n, b.at, b.n) })
		}
		if want {
			overlapping++
		}
		for _, most := range []int{1, 3, 39, 40} {
			err := apartIn(size, most, func(yield func(span) error) error {
				for _, s := range spans {
					if err := yield(s); err != nil {
						return err
					}
				}
				return nil
			})
			if errors.Is(err, ErrDamaged) != want || err != nil && !want && !errors.Is(err, errFull) {
				t.Fatalf("%d at a time of %v: %v, want overlap %v", most, spans, err, want)
			}
			if errors.Is(err, errFull) && most > 3 {
				t.Fatalf("%d at a time of %v: %v", most, spans, err)
			}
		}
	}
	if overlapping < 300 || overlapping > 2700 {
		t.Errorf("%d of 3000 overlap: too few or too many for a test", overlapping)
	}
	broken := errors.New("medium error")
	if err := apart(1, func(func(span) error) error { return broken }); !errors.Is(err, broken) {
		t.Error(err)
	}
}

// TestBlocksOverlap has two blocks of a disk share a place in the file, wholly and by half.
func TestBlocksOverlap(t *testing.T) {
	vhd, _ := vhdFile(t)
	table := func(edit func(table []byte)) []byte {
		return vhdEdit(vhd, func(_, _, table []byte) { edit(table) })
	}
	be := binary.BigEndian
	refused(t, "VHD, the same place", openVHD, table(func(p []byte) { copy(p[4:8], p[:4]) }), "belongs to two places of the disk")
	refused(t, "VHD, a sector on", openVHD, table(func(p []byte) { be.PutUint32(p[4:], be.Uint32(p)+1) }), "belongs to two places of the disk")
	refused(t, "VHD, data over a bitmap", openVHD, table(func(p []byte) { be.PutUint32(p[4:], be.Uint32(p[4:])-1) }), "belongs to two places of the disk")
	refused(t, "VHD, the last one", openVHD, table(func(p []byte) { copy(p[8:12], p[:4]) }), "belongs to two places of the disk")
	swapped := table(func(p []byte) { a, b := be.Uint32(p), be.Uint32(p[4:]); be.PutUint32(p, b); be.PutUint32(p[4:], a) })
	if _, err := openVHD(&opening{Disk: image.Mem{Data: swapped}}); err != nil {
		t.Errorf("VHD, two that were swapped: %v", err)
	}

	rng := rand.New(rand.NewPCG(6, 6))
	disk := image.Mem{Data: make([]byte, 4<<20)}
	for i := range disk.Data {
		disk.Data[i] = byte(rng.Uint32()) | 1
	}
	vhdx := written(t, VHDX, disk)
	copy(vhdx[vhdxTableAt+8:][:8], vhdx[vhdxTableAt:][:8])
	refused(t, "VHDX", openVHDX, vhdx, "belongs to two places of the disk")
}

// TestGrainsOverlap does the same with a VMDK from qemu-img.
func TestGrainsOverlap(t *testing.T) {
	file := madeByQemu(t, "vmdk")
	h, err := parseVMDKHeader(file[:vmdkHeaderLen])
	if err != nil {
		t.Fatal(err)
	}
	for _, directory := range []uint64{h.direct, h.redundant} {
		table := file[int64(le32(file[directory*vmdkSector:]))*vmdkSector:]
		binary.LittleEndian.PutUint32(table[4:], le32(table))
	}
	refused(t, "VMDK", openVMDK, file, "belongs to two places of the disk")
}

// madeByQemu returns an image of 1 MiB of noise.
func madeByQemu(t *testing.T, format string) []byte {
	t.Helper()
	dir, data := t.TempDir(), make([]byte, 1<<20)
	noise(rand.New(rand.NewPCG(7, 7)), data)
	if err := os.WriteFile(filepath.Join(dir, "raw"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	qemuImg(t, dir, "convert", "-f", "raw", "-O", format, "raw", "made")
	data, err := os.ReadFile(filepath.Join(dir, "made"))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestClustersOverlap has two clusters of a disk share one of the file, with and without the bit for sole use, and
// compares with qemu-img check.
func TestClustersOverlap(t *testing.T) {
	whole := madeByQemu(t, "qcow2")
	be := binary.BigEndian
	l2 := func(p []byte) []byte { return p[be.Uint64(p[be.Uint64(p[40:]):])&qcowOffset:] }
	const a, b = 8 * 3, 8 * 5 // entries
	for name, c := range map[string]struct {
		change func(p []byte)
		sound  bool
	}{
		"as it was":    {func([]byte) {}, true},
		"both its own": {func(p []byte) { copy(l2(p)[b:b+8], l2(p)[a:a+8]) }, false},
		"shared, and counted": {func(p []byte) {
			entry := be.Uint64(l2(p)[a:]) &^ qcowOwn
			be.PutUint64(l2(p)[a:], entry)
			be.PutUint64(l2(p)[b:], entry)
			counts := p[be.Uint64(p[be.Uint64(p[48:]):]):]
			be.PutUint16(counts[2*(entry>>16):], 2)
		}, true},
	} {
		p := bytes.Clone(whole)
		c.change(p)
		path := filepath.Join(t.TempDir(), "disk.qcow2")
		if err := os.WriteFile(path, p, 0o600); err != nil {
			t.Fatal(err)
		}
		var exit *exec.ExitError
		// It exits with 3 if it finds only leaked clusters.
		if out, err := exec.Command("qemu-img", "check", path).CombinedOutput(); (err == nil || errors.As(err, &exit) && exit.ExitCode() == 3) != c.sound {
			t.Errorf("%s: qemu-img check: %v\n%s", name, err, out)
		}
		d, err := openQcow2(&opening{Disk: image.Mem{Data: p}, path: path})
		if (err == nil) != c.sound || err != nil && (!errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "belongs to two places of the disk")) {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil && d.Size() != 1<<20 {
			t.Errorf("%s: %d bytes", name, d.Size())
		}
	}
}
