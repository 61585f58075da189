package overlay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"platter/snapshot/image"
)

// TestModel makes random calls, opens the overlay again now and then, and compares it with a model. The disks have odd
// sizes, holes, and places that cannot be read.
func TestModel(t *testing.T) {
	for seed, size := range []int{1, 511, 513, unit, unit + 1, 40*unit - 7, 100*unit + 512, 64 * unit} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(uint64(seed), 7))
			base := randomBase(rng, size)
			m := newModel(base)
			f := &memFile{}
			d, err := create(f, base, Binding{1}, smallJournal)
			reopen := func() (*Disk, error) { return open(f, base, Binding{1}) }
			if seed == 0 || seed == 5 {
				path := filepath.Join(t.TempDir(), "overlay")
				d, err = Create(path, base, Binding{1})
				reopen = func() (*Disk, error) { return Open(path, base, Binding{1}) }
			}
			must(t, err)
			for step := range 150 {
				if rng.IntN(15) == 0 {
					must(t, d.Close())
					d, err = reopen()
					must(t, err)
				}
				o := randomOp(rng, int64(size))
				if err := m.do(d, o); err != nil {
					t.Fatalf("step %d: %v: %v", step, o, err)
				}
				if err := m.wantPart(d, rng); err != nil {
					t.Fatalf("step %d: after %v: %v", step, o, err)
				}
				if step%10 == 0 {
					must(t, errors.Join(m.wantNow(d), m.wantExtents(d, rng)))
				}
			}
			must(t, d.Close())
			must(t, d.Close())
		})
	}
}

// wantPart reads a random part of a disk in one piece.
func (m *model) wantPart(d *Disk, rng *rand.Rand) error {
	off := rng.Int64N(d.Size())
	p := make([]byte, 1+rng.Int64N(5*unit))
	n, err := d.ReadAtContext(context.Background(), p, off)
	for at := off; at < off+int64(n); at++ {
		if p[at-off] != m.now[at/sector][at%sector] {
			return fmt.Errorf("byte %d is %#x", at, p[at-off])
		}
	}
	end := off + int64(n)
	switch {
	case n == len(p) && err == nil, end == d.Size() && err == io.EOF && n < len(p):
		return nil
	case end < d.Size() && errors.Is(err, image.ErrUnreadable) && m.now[end/sector] == nil:
		return nil
	}
	return fmt.Errorf("read %d of %d bytes at %d: %w", n, len(p), off, err)
}

// wantExtents compares what a disk says of zeros and changes with the model.
func (m *model) wantExtents(d *Disk, rng *rand.Rand) error {
	from := rng.Int64N(d.Size())
	n := rng.Int64N(d.Size()-from) + 1
	return errors.Join(
		m.wantZeros(d.Extents(), 0, d.Size()),
		m.wantZeros(d.ExtentsIn(context.Background(), from, n), from, n),
		m.wantChanged(d))
}

// wantZeros checks extents of a range: they have no gaps, and say zero of zeros only, and of all that were zeroed.
func (m *model) wantZeros(extents iter.Seq2[image.Extent, error], off, n int64) error {
	next := off
	for e, err := range extents {
		if err != nil {
			return err
		}
		if e.Off != next || e.Len <= 0 {
			return fmt.Errorf("an extent %+v comes where %d should be", e, next)
		}
		next += e.Len
		for at := e.Off; at < next; at++ {
			if e.Zero && (m.now[at/sector] == nil || m.now[at/sector][at%sector] != 0) {
				return fmt.Errorf("byte %d is no zero as %+v says", at, e)
			}
			if !e.Zero && m.kinds[at/unit] == 'z' {
				return fmt.Errorf("byte %d was zeroed, and is in %+v", at, e)
			}
		}
	}
	if next != off+n {
		return fmt.Errorf("extents end at %d instead of %d", next, off+n)
	}
	return nil
}

func (m *model) wantChanged(d *Disk) error {
	kinds := map[int64]byte{}
	last := image.Extent{Off: -1}
	for e, err := range d.Changed(context.Background()) {
		if err != nil {
			return err
		}
		if e.Off < last.Off+last.Len || e.Off == last.Off+last.Len && e.Zero == last.Zero || e.Off%unit != 0 || e.Off+e.Len > d.Size() {
			return fmt.Errorf("%+v comes after %+v", e, last)
		}
		last = e
		for at := e.Off; at < e.Off+e.Len; at += unit {
			kinds[at/unit] = 'w'
			if e.Zero {
				kinds[at/unit] = 'z'
			}
		}
	}
	for block := range blocksOf(d.Size()) {
		if kinds[block] != m.kinds[block] {
			return fmt.Errorf("block %d is of kind %q, want %q", block, kinds[block], m.kinds[block])
		}
	}
	return nil
}

func TestRanges(t *testing.T) {
	d, err := Temporary(t.TempDir(), image.Sparse{Bytes: 10000})
	must(t, err)
	defer d.Close()
	for _, r := range [][2]int64{{-1, 1}, {10000, 1}, {9999, 2}, {1 << 62, 1}} {
		if n, err := d.WriteAt(make([]byte, r[1]), r[0]); n != 0 || err == nil {
			t.Errorf("WriteAt of %d bytes at %d: %d, %v", r[1], r[0], n, err)
		}
		if err := d.Zero(r[0], r[1]); err == nil {
			t.Errorf("Zero of %d bytes at %d is no error", r[1], r[0])
		}
	}
	if err := d.Zero(5, -1); err == nil {
		t.Error("Zero of -1 bytes is no error")
	}
	if _, err := d.ReadAt(make([]byte, 1), -1); err == nil {
		t.Error("ReadAt of byte -1 is no error")
	}
	if n, err := d.ReadAt(make([]byte, 1), 1<<62); n != 0 || err != io.EOF {
		t.Errorf("ReadAt past the end: %d, %v", n, err)
	}
	if n, err := d.WriteAt(nil, 10000); n != 0 || err != nil {
		t.Errorf("WriteAt of nothing: %d, %v", n, err)
	}
	for e, err := range d.Changed(t.Context()) {
		t.Errorf("Changed yields %+v, %v", e, err)
	}
}

// TestLargest uses the largest disk: zeros of all of it take no room, and neither do blocks far behind each other.
func TestLargest(t *testing.T) {
	base := image.Sparse{Bytes: maxSize}
	path := filepath.Join(t.TempDir(), "overlay")
	d, err := Create(path, base, Binding{})
	must(t, err)
	must(t, d.Zero(0, maxSize))
	want := []byte("the last bytes")
	end := maxSize - int64(len(want))
	_, err = d.WriteAt(want, end)
	must(t, err)
	must(t, d.Close())
	d, err = Open(path, base, Binding{})
	must(t, err)
	defer d.Close()
	got := make([]byte, len(want))
	if _, err := d.ReadAt(got, end); err != nil || !bytes.Equal(got, want) {
		t.Errorf("read %q, %v", got, err)
	}
	info, err := os.Stat(path)
	must(t, err)
	if units := info.Size() / unit; units > 2*newJournal+headers+1 {
		t.Errorf("the file has %d units", units)
	}
	if _, err := newDisk(nil, image.Sparse{Bytes: maxSize + 1}); err == nil {
		t.Error("a larger disk is no error")
	}
}

// TestTemporary checks that a temporary overlay has no file, and reuses room without a sync.
func TestTemporary(t *testing.T) {
	dir := t.TempDir()
	d, err := Temporary(dir, image.Sparse{Bytes: 1 << 30})
	must(t, err)
	p := make([]byte, 1<<20)
	for i := range int64(100) {
		_, err := d.WriteAt(p, i<<20)
		must(t, err)
		must(t, d.Zero(i<<20, 1<<20))
	}
	size, err := d.file.Size()
	must(t, err)
	if size > 2<<20 {
		t.Errorf("the file has %d bytes", size)
	}
	must(t, d.Close())
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("Close leaves %v, %v", left, err)
	}
}
