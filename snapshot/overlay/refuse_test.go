package overlay

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"platter/snapshot/image"
)

// made returns the file of an overlay with three pages of journal and some blocks, and its base.
func made(t testing.TB) (*memFile, image.Disk) {
	base := image.Sparse{Bytes: 50*unit + 100}
	f := &memFile{}
	d, err := create(f, base, Binding{3}, 8)
	must(t, err)
	for i := range int64(3) {
		_, err := d.WriteAt([]byte("something"), i*10*unit)
		must(t, err)
		must(t, d.Sync())
	}
	return f, base
}

// TestDamage changes single bits of everything but blocks. The overlay opens with all that it had, or it is an error:
// never a new one, and never one with less. The only exception is the last page, which is as if it had been torn.
func TestDamage(t *testing.T) {
	f, base := made(t)
	const journal, last = headers * unit, (headers + 2) * unit
	rng := rand.New(rand.NewPCG(5, 5))
	for range 600 {
		at := rng.IntN(last)
		if rng.IntN(2) == 0 {
			at = []int{0, unit, journal, journal + unit}[rng.IntN(4)] + rng.IntN(200)
		}
		g := f.lose(kept, nil)
		g.data[at] ^= 1 << rng.IntN(8)
		d, err := open(g, base, Binding{3})
		switch {
		case at < headers*unit: // the other copy is whole
			if errors.Is(err, ErrNewer) && at%unit >= 16 && at%unit < 20 {
				continue
			}
			must(t, err)
			if !countsBlocks(d, 3) {
				t.Fatalf("byte %d is damaged: blocks are missing", at)
			}
			if _, both, err := readHeader(g, 100); err != nil || !both {
				t.Fatalf("byte %d is damaged: Open does not mend the header, %v", at, err)
			}
		case !errors.Is(err, ErrDamaged):
			t.Fatalf("byte %d is damaged: Open says %v", at, err)
		}
	}
	// Both headers.
	g := f.lose(kept, nil)
	g.data[40], g.data[unit+50] = 77, 77
	if _, err := open(g, base, Binding{3}); !errors.Is(err, ErrDamaged) {
		t.Errorf("two damaged headers: %v", err)
	}
	// Every length: an overlay that was cut short is refused, unless it was cut within unused units.
	for length := 0; length < len(f.data); length += 500 {
		g := f.lose(kept, nil)
		g.data = g.data[:length]
		if d, err := open(g, base, Binding{3}); err == nil && !countsBlocks(d, 3) || err != nil && !errors.Is(err, ErrDamaged) {
			t.Errorf("cut to %d bytes: %v", length, err)
		}
	}
}

func countsBlocks(d *Disk, want int64) bool {
	for r := range d.blocks.all() {
		want -= r.n
	}
	return want == 0
}

// TestFalsePages replays pages with right sums that no overlay writes.
func TestFalsePages(t *testing.T) {
	for name, p := range map[string]struct{ first, count uint64 }{
		"an entry too many":          {0, perPage + 1},
		"more entries than can be":   {0, 1 << 62},
		"first in the future":        {1, 1},
		"first before the beginning": {1 << 63, 1},
		"an entry that is all zeros": {0, 1},
	} {
		j := &journal{header: header{size: 1 << 40, len: 2}}
		data := make([]byte, 2*unit)
		binary.LittleEndian.PutUint64(data[32:], p.first)
		binary.LittleEndian.PutUint64(data[40:], p.count)
		for entry := data[pageHead:unit]; len(entry) >= entryLen && p.count > 1; entry = entry[entryLen:] {
			entry[8] = 1 // one block
		}
		sum := chain(j.nonce, data)
		copy(data, sum[:])
		if err := j.replay(&memFile{data: data}, 100, func(run) {}); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNewer(t *testing.T) {
	f, base := made(t)
	for copies := range 3 {
		g := f.lose(kept, nil)
		for _, at := range [][]int{{0}, {unit}, {0, unit}}[copies] {
			g.data[at+16] = 2
		}
		_, err := open(g, base, Binding{3})
		if wantErr := copies != 1; wantErr != errors.Is(err, ErrNewer) {
			t.Errorf("version 2 in case %d: %v", copies, err)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "overlay")
	base := image.Sparse{Bytes: 100000}
	d, err := Create(path, base, Binding{1})
	must(t, err)
	info, err := os.Stat(path)
	must(t, err)
	if mode := info.Mode().Perm(); mode&0o77 != 0 && filepath.Separator == '/' {
		t.Errorf("others may use the file: %v", mode)
	}
	if _, err := Open(path, base, Binding{1}); !errors.Is(err, image.ErrInUse) || !strings.Contains(err.Error(), path) {
		t.Errorf("a second Open says %v", err)
	}
	if _, err := Create(path, base, Binding{1}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second Create says %v", err)
	}
	must(t, d.Close())
	if err := d.Sync(); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Sync after Close says %v", err)
	}
	for name, open := range map[string]func() (*Disk, error){
		"another binding": func() (*Disk, error) { return Open(path, base, Binding{2}) },
		"another size":    func() (*Disk, error) { return Open(path, image.Sparse{Bytes: 100001}, Binding{1}) },
	} {
		if _, err := open(); !errors.Is(err, ErrOtherBase) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Open(filepath.Join(dir, "none"), base, Binding{1}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Open of nothing says %v", err)
	}
	if _, err := Open(dir, base, Binding{1}); err == nil {
		t.Error("Open of a folder is no error")
	}
	empty := filepath.Join(dir, "empty")
	must(t, os.WriteFile(empty, nil, 0o600))
	if _, err := Open(empty, base, Binding{1}); !errors.Is(err, ErrDamaged) {
		t.Errorf("Open of an empty file says %v", err)
	}
	d, err = Open(path, base, Binding{1})
	must(t, err)
	must(t, d.Close())
}
