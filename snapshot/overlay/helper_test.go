package overlay

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"platter/snapshot/image"
)

// sector is what a medium writes whole or not at all, in bytes.
const sector = 512

// badDisk is a disk in memory with some unreadable blocks.
type badDisk struct {
	image.Mem
	bad map[int64]bool // by number of the sector
}

func (b badDisk) ReadAt(p []byte, off int64) (int, error) {
	for n := range p {
		if at := off + int64(n); b.bad[at/sector] {
			m, _ := b.Mem.ReadAt(p[:n], off)
			return m, fmt.Errorf("byte %d: %w", at, image.ErrUnreadable)
		}
	}
	return b.Mem.ReadAt(p, off)
}

// randomBase makes a disk with data, zeros, and places that cannot be read.
func randomBase(rng *rand.Rand, size int) badDisk {
	data := make([]byte, size)
	for off := 0; off < size; {
		n := min(1+rng.IntN(5*unit), size-off)
		if rng.IntN(3) > 0 {
			for i := range data[off : off+n] {
				data[off+i] = byte(1 + rng.IntN(255))
			}
		}
		off += n
	}
	b := badDisk{image.Mem{Data: data, Holes: true}, map[int64]bool{}}
	for range size / (8 * unit) {
		s := rng.Int64N(int64(size-1)/sector + 1)
		b.bad[s], data[s*sector] = true, 1 // no hole
	}
	return b
}

// A model is what a disk may hold. A sector that cannot be read is nil.
type model struct {
	base  badDisk
	now   [][]byte       // each sector as it reads now
	since [][][]byte     // each sector as it was at some moment since the last sync began
	kinds map[int64]byte // of blocks: 'w' for written, 'z' for zeroed; others are the base's
}

func newModel(base badDisk) *model {
	m := &model{base: base, kinds: map[int64]byte{}}
	for off := int64(0); off < base.Size(); off += sector {
		var now []byte
		if !base.bad[off/sector] {
			now = base.Data[off:min(off+sector, base.Size())]
		}
		m.now = append(m.now, now)
		m.since = append(m.since, [][]byte{now})
	}
	return m
}

// covers reports whether a range covers a block.
func (m *model) covers(off, n, block int64) bool {
	return off <= block*unit && off+n >= min((block+1)*unit, m.base.Size())
}

// allows reports whether a write of a range must succeed: blocks that it covers in part can be read.
func (m *model) allows(off, n int64) bool {
	for _, edge := range []int64{off / unit, (off + n - 1) / unit} {
		for s := edge * unit / sector; s < min((edge+1)*unit/sector, int64(len(m.now))); s++ {
			if m.now[s] == nil && !m.covers(off, n, edge) && n > 0 {
				return false
			}
		}
	}
	return true
}

// change records that p is written at off, by Zero if kind is 'z'.
func (m *model) change(kind byte, p []byte, off int64) {
	for block := off / unit; block < blocksOf(off+int64(len(p))); block++ {
		if kind == 'w' || !m.covers(off, int64(len(p)), block) && m.kinds[block] != 'z' {
			m.kinds[block] = 'w'
		} else {
			m.kinds[block] = 'z'
		}
		for s := block * unit / sector; s < min((block+1)*unit/sector, int64(len(m.now))); s++ {
			from, to := max(off, s*sector), min(off+int64(len(p)), s*sector+sector)
			if from >= to {
				continue
			}
			fresh := make([]byte, min(sector, m.base.Size()-s*sector))
			copy(fresh, m.now[s])
			copy(fresh[from-s*sector:], p[from-off:to-off])
			m.now[s], m.since[s] = fresh, append(m.since[s], fresh)
		}
	}
}

// synced records that a sync completed.
func (m *model) synced() {
	for s := range m.since {
		m.since[s] = m.since[s][:0:0]
		m.since[s] = append(m.since[s], m.now[s])
	}
}

// An op is one call.
type op struct {
	kind byte // 'w' WriteAt, 'z' Zero, 's' Sync
	off  int64
	data []byte
}

func (o op) String() string { return fmt.Sprintf("%c %d+%d", o.kind, o.off, len(o.data)) }

// randomOp makes an operation on a disk of a size. Ranges are aligned to blocks, to sectors, or to nothing.
func randomOp(rng *rand.Rand, size int64) op {
	o := op{kind: "wwwwwwzzss"[rng.IntN(10)]}
	if o.kind == 's' {
		return o
	}
	align := []int64{unit, sector, 1}[rng.IntN(3)]
	o.off = rng.Int64N(size+1) / align * align
	n := min(align*(1+rng.Int64N([]int64{1, 8, 6 * unit / align}[rng.IntN(3)])), size-o.off)
	if rng.IntN(8) == 0 {
		n = size - o.off // to the end
	}
	o.data = make([]byte, n)
	if o.kind == 'w' {
		for i := range o.data {
			o.data[i] = byte(rng.Uint32())
		}
	}
	return o
}

// do makes a call on a disk and records it.
func (m *model) do(d *Disk, o op) error {
	allowed := m.allows(o.off, int64(len(o.data)))
	var err error
	switch o.kind {
	case 's':
		if err = d.Sync(); err == nil {
			m.synced()
		}
		return err
	case 'w':
		if allowed {
			m.change(o.kind, o.data, o.off)
		}
		var n int
		if n, err = d.WriteAt(o.data, o.off); err == nil && n != len(o.data) {
			return fmt.Errorf("%v: %d bytes written", o, n)
		}
	case 'z':
		if allowed {
			m.change(o.kind, o.data, o.off)
		}
		err = d.Zero(o.off, int64(len(o.data)))
	}
	if !allowed {
		if !errors.Is(err, image.ErrUnreadable) {
			return fmt.Errorf("%v: a block that cannot be read was filled: %v", o, err)
		}
		return nil
	}
	return err
}

// wantNow compares all of a disk with what it holds now.
func (m *model) wantNow(d *Disk) error {
	return m.compare(d, func(s int) [][]byte { return m.now[s : s+1] })
}

// wantSince compares each sector with what it held at some moment since the last sync.
func (m *model) wantSince(d *Disk) error {
	return m.compare(d, func(s int) [][]byte { return m.since[s] })
}

func (m *model) compare(d *Disk, allowed func(sector int) [][]byte) error {
	all := make([]byte, d.Size())
	n, _ := d.ReadAt(all, 0)
	for s := range m.now {
		off := int64(s) * sector
		got := all[off:min(off+sector, d.Size())]
		if off+int64(len(got)) > int64(n) { // behind an unreadable sector
			if _, err := d.ReadAt(got, off); errors.Is(err, image.ErrUnreadable) {
				got = nil
			} else if err != nil && err != io.EOF {
				return fmt.Errorf("read sector %d: %w", s, err)
			}
		}
		if !containsSector(allowed(s), got) {
			return fmt.Errorf("sector %d is not one of %d that it may be (unreadable: %v)", s, len(allowed(s)), got == nil)
		}
	}
	return nil
}

func containsSector(allowed [][]byte, got []byte) bool {
	for _, want := range allowed {
		if (want == nil) == (got == nil) && bytes.Equal(want, got) {
			return true
		}
	}
	return false
}

// accept takes what a disk holds after a power cut for what it holds now.
func (m *model) accept(d *Disk) {
	for s := range m.now {
		got := make([]byte, len(m.base.Data[s*sector:min((s+1)*sector, len(m.base.Data))]))
		if _, err := d.ReadAt(got, int64(s)*sector); err != nil {
			got = nil
		}
		m.now[s] = got
	}
	m.synced()
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
