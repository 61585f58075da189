package overlay

import "fmt"

// maxFreed is how many units wait for a Sync of the caller before they can be reused.
const maxFreed = 256 << 20 / unit

// WriteAt writes at a byte offset. A block that is written in part is filled from the base first; if that fails, nothing
// is written. After another error, such as no room, bytes of p may be written, and no others are changed.
func (d *Disk) WriteAt(p []byte, off int64) (n int, err error) {
	if err := d.contains(off, int64(len(p))); err != nil || len(p) == 0 {
		return 0, err
	}
	parts := d.split(off, int64(len(p)))
	defer d.writing.lock(off/unit, blocksOf(off+int64(len(p))))()
	filled, err := d.fill(parts)
	if err != nil {
		return 0, err
	}
	for i, part := range parts {
		bytes := p[part.off-off:][:part.n]
		switch {
		case part.n == 0:
			continue
		case filled[i] != nil:
			copy(filled[i][part.off%unit:], bytes)
			err = d.put(part.off/unit, filled[i])
		case i == middle:
			err = d.put(part.off/unit, bytes)
		default:
			err = d.patch(bytes, part.off)
		}
		if err != nil {
			return n, err
		}
		n += int(part.n)
	}
	return n, nil
}

// Zero makes n bytes at off read as zeros. The room that they took is free after the next Sync. If a block at the ends
// cannot be filled from the base, nothing is changed.
func (d *Disk) Zero(off, n int64) error {
	if err := d.contains(off, n); err != nil || n == 0 {
		return err
	}
	if err := d.zero(off, n); err != nil {
		return err
	}
	if d.freesNow() {
		return d.Sync()
	}
	return nil
}

func (d *Disk) zero(off, n int64) error {
	parts := d.split(off, n)
	defer d.writing.lock(off/unit, blocksOf(off+n))()
	filled, err := d.fill(parts)
	if err != nil {
		return err
	}
	for i, part := range parts {
		switch {
		case part.n == 0:
		case i == middle:
			d.enter(run{at: part.off / unit, n: blocksOf(part.n)})
		case d.isZero(part):
		case filled[i] != nil:
			clear(filled[i][part.off%unit:][:part.n])
			err = d.put(part.off/unit, filled[i])
		default:
			err = d.patch(make([]byte, part.n), part.off)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// isZero reports whether a part of a block is in one that was zeroed.
func (d *Disk) isZero(p part) bool {
	r, written := d.at(p.off/unit, p.off/unit+1)
	return written && r.unit == 0
}

// freesNow reports whether so much waits to be freed that it is time to sync. In a temporary overlay nothing has to wait.
func (d *Disk) freesNow() bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.freedN >= maxFreed || d.freedN > 0 && d.temporary
}

func (d *Disk) contains(off, n int64) error {
	if off < 0 || n < 0 || off > d.size || n > d.size-off {
		return fmt.Errorf("write to an overlay: %d bytes at %d are not on the disk, which has %d", n, off, d.size)
	}
	return nil
}

// A part is a range of bytes.
type part struct{ off, n int64 }

// middle is the index of the whole blocks in a split range. Before it and after it is a part of a block.
const middle = 1

// split splits a range that is not empty. A part may be empty.
func (d *Disk) split(off, n int64) [3]part {
	end := off + n
	from := (off + unit - 1) / unit * unit
	if from > end {
		return [3]part{{off, n}, {end, 0}, {end, 0}} // within a block
	}
	to := end / unit * unit
	if end == d.size {
		to = end // the last block may be short
	}
	to = max(to, from)
	return [3]part{{off, from - off}, {from, to - from}, {to, end - to}}
}

// fill returns the present bytes of the blocks at the ends, without what follows the disk's end. It is nil for a block
// that has a unit, since that can be written in place.
func (d *Disk) fill(parts [3]part) (filled [3][]byte, err error) {
	for i, part := range parts {
		if i == middle || part.n == 0 {
			continue
		}
		block := part.off / unit
		if r, written := d.at(block, block+1); written && r.unit != 0 {
			continue
		}
		filled[i] = make([]byte, min(unit, d.size-block*unit))
		if n, err := d.ReadAt(filled[i], block*unit); n < len(filled[i]) {
			return filled, fmt.Errorf("fill a block of the overlay from its base: %w", err)
		}
	}
	return filled, nil
}

// patch writes bytes within a block that has a unit.
func (d *Disk) patch(p []byte, off int64) error {
	r, _ := d.at(off/unit, off/unit+1)
	return d.writeFile(p, r.offset(off))
}

// put writes whole blocks. Only the disk's last block may be short; the rest of its unit is zeros.
func (d *Disk) put(block int64, p []byte) error {
	if short := len(p) % unit; short > 0 {
		whole, last := p[:len(p)-short], make([]byte, unit)
		copy(last, p[len(p)-short:])
		if err := d.put(block, whole); err != nil {
			return err
		}
		block, p = block+int64(len(whole))/unit, last
	}
	for len(p) > 0 {
		r, written := d.at(block, block+int64(len(p))/unit)
		var err error
		if written && r.unit != 0 {
			err = d.writeFile(p[:r.n*unit], r.unit*unit)
		} else {
			r, err = d.putNew(r, p)
		}
		if err != nil {
			return err
		}
		block, p = r.end(), p[r.n*unit:]
	}
	return nil
}

// putNew gives units to the first of some blocks that have none, and returns which. A reader sees the old blocks, or the
// new ones: never a unit that is being filled.
func (d *Disk) putNew(r run, p []byte) (run, error) {
	d.mu.Lock()
	r.unit, r.n = d.units.take(r.n)
	d.mu.Unlock()
	if err := d.writeFile(p[:r.n*unit], r.unit*unit); err != nil {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.units.give(r.unit, r.n) // no map has ever referred to it
		return r, err
	}
	d.enter(r)
	return r, nil
}

// writeFile writes units. They are durable after the next sync.
func (d *Disk) writeFile(p []byte, off int64) error {
	_, err := d.file.WriteAt(p, off)
	d.wrote.Store(true)
	if err != nil {
		return fmt.Errorf("write to the overlay: %w", err)
	}
	return nil
}

// enter enters a run into the map. The units of the blocks that it replaces are free after the next sync.
func (d *Disk) enter(r run) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for old := range d.blocks.within(r.at, r.end()) {
		if old.unit != 0 {
			d.freed = append(d.freed, old)
			d.freedN += old.n
		}
	}
	d.blocks.set(r)
	if !d.temporary {
		d.changed.set(r)
	}
}
