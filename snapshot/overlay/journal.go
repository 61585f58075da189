package overlay

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"iter"

	"github.com/zeebo/blake3"
)

// The journal is a row of units. Each is a page of the map: what changed between two syncs, in order. When it is full,
// the whole map is written to the spare row, which is as long, and the two change roles. Both rows have their room from
// the beginning, so that a sync works on a full disk.
//
//	 0     32      40      48       72                         4080    4096
//	+-----+-------+-------+--------+--------+- - - - - -+--------+-------+
//	| sum | first | count | entry  | entry  |           |  168   | zeros |
//	| 32  | u64   | u64   | 24     | 24     |           |  24    | 16    |
//	+-----+-------+-------+--------+--------+- - - - - -+--------+-------+
//
// An entry is three u64: the first block, the number of blocks, and the unit that has the first block's bytes. The other
// blocks are in the units that follow. If the unit is 0, all of these blocks are zeros. Entries after count are zeros.
//
// The sum is the BLAKE3 of the sum of the page before, or of the header's nonce for the first page, and of the page's
// bytes from 32 on. So a page is never taken for the successor of another one than it was written for. A page that does
// not match its sum ends the journal: it was torn, or never written.
//
// First is the position in the journal of the first page that was written in the same sync. All pages before first were
// durable when the page was written. So if a page is broken, and a page with a greater first is after it, then the
// broken page was not torn but damaged.
const (
	pageHead   = 48 // bytes
	entryLen   = 24 // bytes
	perPage    = (unit - pageHead) / entryLen
	newJournal = 256 // units
)

// A journal is the place in the file where the map is durable.
type journal struct {
	header
	next int64    // position of the next page; all before it are durable
	last [32]byte // sum of the page before
}

// pagesFor returns the number of pages that so many runs take.
func pagesFor(runs int) int64 { return (int64(runs) + perPage - 1) / perPage }

// chain returns the sum of a page after another one.
func chain(before [32]byte, page []byte) [32]byte {
	var p [32 + unit - 32]byte
	copy(p[:], before[:])
	copy(p[32:], page[32:unit])
	return blake3.Sum256(p[:])
}

// encode returns pages of runs that follow the journal's last page, and the sum of the last of them.
func (j *journal) encode(all iter.Seq[run]) (pages []byte, last [32]byte) {
	last = j.last
	count := 0
	seal := func() {
		page := pages[len(pages)-unit:]
		binary.LittleEndian.PutUint64(page[32:], uint64(j.next))
		binary.LittleEndian.PutUint64(page[40:], uint64(count))
		last = chain(last, page)
		copy(page, last[:])
	}
	for r := range all {
		if count == perPage {
			seal()
			count = 0
		}
		if count == 0 {
			pages = append(pages, make([]byte, unit)...)
		}
		entry := pages[len(pages)-unit+pageHead+count*entryLen:]
		binary.LittleEndian.PutUint64(entry, uint64(r.at))
		binary.LittleEndian.PutUint64(entry[8:], uint64(r.n))
		binary.LittleEndian.PutUint64(entry[16:], uint64(r.unit))
		count++
	}
	if count > 0 {
		seal()
	}
	return pages, last
}

// replay reads the journal and applies each entry in order, up to the first page that is not whole. units is the length
// of the file. The error wraps ErrDamaged if the journal was damaged after it was durable.
func (j *journal) replay(f file, units int64, apply func(run)) error {
	j.next, j.last = 0, j.nonce
	buf := make([]byte, min(j.len, 256)*unit)
	ended := false
	before, computed := j.last, j.last // the sum of the page before: what the page says, and what it should say
	for at := int64(0); at < j.len; at++ {
		page := buf[at*unit%int64(len(buf)):][:unit]
		if at*unit%int64(len(buf)) == 0 {
			if err := readFull(f, buf[:min(int64(len(buf)), (j.len-at)*unit)], (j.at+at)*unit); err != nil {
				return fmt.Errorf("read the journal: %w", err)
			}
		}
		sum := chain(before, page)
		whole := sum == [32]byte(page) || ended && chain(computed, page) == [32]byte(page)
		before, computed = [32]byte(page), sum
		first := int64(binary.LittleEndian.Uint64(page[32:]))
		switch {
		case !whole:
			ended = true
		case ended && first > j.next:
			return fmt.Errorf("%w: page %d of its journal does not match its checksum", ErrDamaged, j.next)
		case !ended:
			if err := j.apply(page, units, apply); err != nil {
				return err
			}
			j.next, j.last = at+1, before
		}
	}
	return nil
}

// apply applies the entries of a page that matches its sum.
func (j *journal) apply(page []byte, units int64, apply func(run)) error {
	first, count := binary.LittleEndian.Uint64(page[32:]), binary.LittleEndian.Uint64(page[40:])
	if first > uint64(j.next) || count > perPage {
		return fmt.Errorf("%w: page %d of its journal is impossible", ErrDamaged, j.next)
	}
	for entry := page[pageHead:][:count*entryLen]; len(entry) > 0; entry = entry[entryLen:] {
		r := run{
			int64(binary.LittleEndian.Uint64(entry)),
			int64(binary.LittleEndian.Uint64(entry[8:])),
			int64(binary.LittleEndian.Uint64(entry[16:])),
		}
		blocks := blocksOf(j.size)
		onDisk := r.at >= 0 && r.n > 0 && r.at < blocks && r.n <= blocks-r.at
		inFile := r.unit == 0 || r.unit >= headers && r.unit < units && r.n <= units-r.unit
		if !onDisk || !inFile {
			return fmt.Errorf("%w: %d blocks from block %d on cannot be at unit %d: was the file truncated?", ErrDamaged, r.n, r.at, r.unit)
		}
		apply(r)
	}
	return nil
}

// append writes runs as the next pages, and makes them durable. If it fails, the next append replaces them.
func (j *journal) append(f file, all iter.Seq[run]) error {
	pages, last := j.encode(all)
	if _, err := f.WriteAt(pages, (j.at+j.next)*unit); err != nil {
		return fmt.Errorf("write the journal: %w", err)
	}
	if err := f.Sync(); err != nil {
		return err
	}
	j.next, j.last = j.next+int64(len(pages))/unit, last
	return nil
}

// fill begins a journal: it writes the whole map, then zeros, and makes both durable.
func (j *journal) fill(f file, whole *runs) error {
	rand.Read(j.nonce[:]) // never fails
	j.number++
	j.next, j.last = 0, j.nonce
	pages := pagesFor(whole.count())
	if err := writeZeros(f, j.at+pages, j.len-pages); err != nil {
		return fmt.Errorf("begin a journal: %w", err)
	}
	return j.append(f, whole.all())
}

// writeZeros writes zeros over n units. So the file system gives them room, and nothing old is in them.
func writeZeros(f file, at, n int64) error {
	zeros := make([]byte, min(n, 256)*unit)
	for ; n > 0; at, n = at+256, n-256 {
		if _, err := f.WriteAt(zeros[:min(n, 256)*unit], at*unit); err != nil {
			return err
		}
	}
	return nil
}
