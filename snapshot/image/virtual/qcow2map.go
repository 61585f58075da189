package virtual

import (
	"encoding/binary"
	"fmt"
	"io"
	"iter"
	"math/bits"

	"platter/snapshot/image"
)

// Entries of the L1 and L2 tables. Bit 63 says that nothing else uses the cluster of the entry. It matters only to
// writers, and is not maintained in tables of snapshots.
//
//	L1               bits 9–55 offset of the L2 table, 0 for none; all others 0
//	L2, bit 62 = 0   bits 9–55 offset of the cluster, 0 for none; bit 0 reads as zeros (version 3); all others 0
//	L2, bit 62 = 1   compressed: bits 0 to x-1 its offset, x to 61 the number of additional 512-byte sectors;
//	                 x = 62 - (bits of a cluster - 8)
//
// Extended L2 entries have 8 more bytes: the cluster has 32 subclusters, bit i says that subcluster i is allocated in
// the cluster, and bit 32+i that it reads as zeros.
const (
	qcowOffset    = 1<<56 - 1<<9
	qcowOwn       = 1 << 63
	qcowPackedBit = 1 << 62
	qcowZeroBit   = 1
)

type qcowKind byte

const (
	qcowZero   qcowKind = iota // reads as zeros
	qcowBelow                  // as in the backing file
	qcowData                   // bytes in the file
	qcowPacked                 // a compressed cluster
)

// A qcowRun is a part of the disk of one kind and in one place.
type qcowRun struct {
	kind   qcowKind
	len    int64 // bytes of the disk
	host   int64 // of the first byte in the file; packed: of the first compressed byte
	packed int64 // compressed bytes of the cluster, perhaps followed by bytes of another
}

// A qcowCursor looks up places of the disk. It keeps the last parts of the tables, because the next lookup usually
// needs them again. It is for one goroutine.
type qcowCursor struct {
	*qcow2
	l1Page, l2Page qcowPage

	table  int64 // L1 index in the last lookup with an L2 table
	tables int64 // number of lookups with a table other than the previous one
}

func (q *qcow2) cursor() *qcowCursor { return &qcowCursor{qcow2: q, table: -1} }

// A qcowPage is a part of the file.
type qcowPage struct {
	off  int64
	data []byte
}

// word reads 8 bytes at a multiple of 8 inside the file.
func (c *qcowCursor) word(p *qcowPage, off int64) (uint64, error) {
	if at := off - p.off; at < 0 || at >= int64(len(p.data)) {
		data, err := c.page(off &^ (qcowPageLen - 1))
		if err != nil {
			return 0, err
		}
		*p = qcowPage{off &^ (qcowPageLen - 1), data}
	}
	if off-p.off+8 > int64(len(p.data)) {
		return 0, fmt.Errorf("read %s at byte %d: %w", c.path, off, io.ErrUnexpectedEOF)
	}
	return binary.BigEndian.Uint64(p.data[off-p.off:]), nil
}

// piece looks up the run at a byte of the disk: at most a cluster, or all that a missing L2 table covers.
func (c *qcowCursor) piece(off int64) (qcowRun, error) {
	index, in := off>>c.tableBits(), off&(1<<c.tableBits()-1)
	entry, err := c.word(&c.l1Page, c.l1+8*index)
	if err != nil {
		return qcowRun{}, err
	}
	table := int64(entry & qcowOffset)
	switch {
	case entry&^(qcowOffset|qcowOwn) != 0 || table&(c.cluster()-1) != 0 || table > c.fileSize-c.cluster():
		return qcowRun{}, c.damaged("L1 entry %d is %#x, the file has %d bytes", index, entry, c.fileSize)
	case table == 0:
		return qcowRun{kind: c.absent(), len: min(1<<c.tableBits()-in, c.size-off)}, nil
	case index != c.table:
		c.table, c.tables = index, c.tables+1
	}
	at := table + in>>c.bits<<c.entryBits()
	if entry, err = c.word(&c.l2Page, at); err != nil {
		return qcowRun{}, err
	}
	var subclusters uint64
	if c.extended {
		if subclusters, err = c.word(&c.l2Page, at+8); err != nil {
			return qcowRun{}, err
		}
	}
	r, ok := c.decode(entry, subclusters, off&(c.cluster()-1))
	if !ok {
		return qcowRun{}, c.damaged("the entry for byte %d of the disk is %#x, %#x, the file has %d bytes", off, entry, subclusters, c.fileSize)
	}
	r.len = min(r.len, c.size-off)
	return r, nil
}

// absent returns the kind of unallocated clusters.
func (q *qcow2) absent() qcowKind {
	if q.below == nil {
		return qcowZero
	}
	return qcowBelow
}

// decode decodes an L2 entry from byte in of its cluster on. It returns false if the entry is invalid. A cluster that
// begins in the file may end past it: the rest was never written and reads as zeros.
func (q *qcow2) decode(entry, subclusters uint64, in int64) (qcowRun, bool) {
	r := qcowRun{kind: q.absent(), len: q.cluster() - in}
	entry &^= qcowOwn
	if entry&qcowPackedBit != 0 {
		shift := 62 - (q.bits - 8)
		r.kind, r.host = qcowPacked, int64(entry&(1<<shift-1))
		sectors := int64(entry&^qcowPackedBit>>shift) + 1
		r.packed = min(sectors*512-r.host%512, q.fileSize-r.host)
		return r, subclusters == 0 && r.host > 0 && r.host < min(q.fileSize, 1<<56)
	}
	host := int64(entry & qcowOffset)
	if entry&^(qcowOffset|qcowZeroBit) != 0 || host&(q.cluster()-1) != 0 || host >= q.fileSize {
		return r, false
	}
	zero := entry&qcowZeroBit != 0
	switch {
	case zero:
		r.kind = qcowZero
		return r, q.version > 2 && !q.extended
	case q.extended:
		return q.decodeSubclusters(r, host, subclusters, in)
	case host != 0:
		r.kind, r.host = qcowData, host+in
	}
	return r, true
}

// decodeSubclusters finds the run of subclusters of one kind at byte in of a cluster.
func (q *qcow2) decodeSubclusters(r qcowRun, host int64, subclusters uint64, in int64) (qcowRun, bool) {
	data, zero := uint32(subclusters), uint32(subclusters>>32)
	if data&zero != 0 || data != 0 && host == 0 {
		return r, false
	}
	first := uint(in >> (q.bits - 5))
	same := ^(data | zero)
	switch {
	case data>>first&1 != 0:
		r.kind, r.host, same = qcowData, host+in, data
	case zero>>first&1 != 0:
		r.kind, same = qcowZero, zero
	}
	n := min(bits.TrailingZeros32(^(same >> first)), 32-int(first))
	r.len = int64(int(first)+n)<<(q.bits-5) - in
	return r, true
}

// run looks up the run at off, up to end at most.
func (c *qcowCursor) run(off, end int64) (qcowRun, error) {
	r, err := c.piece(off)
	if err != nil {
		return r, err
	}
	for r.kind != qcowPacked && r.len < end-off {
		next, err := c.piece(off + r.len)
		if err != nil || next.kind != r.kind || r.kind == qcowData && next.host != r.host+r.len {
			break // the next call reports the error at its own place
		}
		r.len += next.len
	}
	r.len = min(r.len, end-off)
	return r, nil
}

// Extents yields the extents that the tables describe.
func (q *qcow2) Extents() iter.Seq2[image.Extent, error] {
	return image.Joined(func(yield func(image.Extent, error) bool) {
		below := qcowBelowExtents{}
		if q.below != nil {
			var stop func()
			below.next, stop = iter.Pull2(q.below.Extents())
			defer stop()
		}
		c, data := q.cursor(), int64(0)
		for off := int64(0); off < q.size; {
			r, err := c.piece(off)
			if r.kind == qcowData {
				data += r.len
			}
			if err == nil && (c.tables > q.fileSize>>q.bits || data > q.fileSize+q.cluster()) {
				err = q.damaged("its tables name the same clusters again and again")
			}
			if err != nil {
				yield(image.Extent{}, err)
				return
			}
			if r.kind == qcowBelow {
				if !below.yield(off, off+r.len, yield) {
					return
				}
			} else if !yield(image.Extent{Off: off, Len: r.len, Zero: r.kind == qcowZero}, nil) {
				return
			}
			off += r.len
		}
	})
}

// qcowBelowExtents are the extents of a backing file's disk, which may be shorter than its overlay's.
type qcowBelowExtents struct {
	next func() (image.Extent, error, bool)
	last image.Extent
}

// yield yields the extents between two offsets. Offsets must increase from call to call.
func (b *qcowBelowExtents) yield(off, end int64, yield func(image.Extent, error) bool) bool {
	for off < end {
		if b.last.Off+b.last.Len <= off {
			e, err, ok := b.next()
			if err != nil {
				yield(image.Extent{}, err)
				return false
			}
			if !ok {
				e = image.Extent{Off: off, Len: 1<<63 - 1 - off, Zero: true}
			}
			b.last = e
			continue
		}
		n := min(end, b.last.Off+b.last.Len) - off
		if !yield(image.Extent{Off: off, Len: n, Zero: b.last.Zero}, nil) {
			return false
		}
		off += n
	}
	return true
}
