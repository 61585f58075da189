package virtual

import (
	"encoding/binary"
	"fmt"
	"io"
	"iter"
	"math/bits"

	"platter/snapshot/image"
)

// Entries of the L1 and the L2 tables. Bit 63 says that nothing else uses what the entry points to; it only matters to
// writers, and is not kept right in tables of snapshots.
//
//	L1               bits 9–55 where the L2 table begins, 0 for none; all others 0
//	L2, bit 62 = 0   bits 9–55 where the cluster begins, 0 for none; bit 0 reads as zeros (version 3); all others 0
//	L2, bit 62 = 1   compressed: bits 0 to x-1 where it begins, x to 61 in how many sectors of 512 bytes more it ends;
//	                 x = 62 - (bits of a cluster - 8)
//
// Extended L2 entries have 8 bytes more: the cluster is 32 subclusters, bit i says that subcluster i lies in the cluster,
// bit 32+i that it reads as zeros.
const (
	qcowOffset    = 1<<56 - 1<<9
	qcowOwn       = 1 << 63
	qcowPackedBit = 1 << 62
	qcowZeroBit   = 1
)

type qcowKind byte

const (
	qcowZero   qcowKind = iota // reads as zeros
	qcowBelow                  // what the backing file has there
	qcowData                   // bytes in the file
	qcowPacked                 // a compressed cluster
)

// A qcowRun is a part of the disk that is of one kind and in one place.
type qcowRun struct {
	kind   qcowKind
	len    int64 // bytes of the disk
	host   int64 // data: of its first byte in the file; packed: of the first compressed one
	packed int64 // compressed bytes of the cluster, and maybe some that are not its own
}

// A qcowCursor looks places of the disk up. It holds on to the parts of the tables that it saw last, as the next lookup
// most often needs the same. It is used by one goroutine.
type qcowCursor struct {
	*qcow2
	l1Page, l2Page qcowPage

	table  int64 // of the last lookup that had an L2 table: its index in L1
	tables int64 // how many times a lookup had another one than the lookup before
}

func (q *qcow2) cursor() *qcowCursor { return &qcowCursor{qcow2: q, table: -1} }

// A qcowPage is a part of the file.
type qcowPage struct {
	off  int64
	data []byte
}

// word reads 8 bytes at a multiple of 8 that is known to lie in the file.
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

// piece looks up what begins at a byte of the disk: at most a cluster, or all that a missing L2 table speaks of.
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

// absent is what is not allocated.
func (q *qcow2) absent() qcowKind {
	if q.below == nil {
		return qcowZero
	}
	return qcowBelow
}

// decode reads an L2 entry: what begins at byte in of its cluster; false if it is not as it should be. A cluster that
// begins in the file may end past it: what was never written there is zeros.
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

// decodeSubclusters finds the subclusters of one kind that begin at byte in of a cluster.
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

// run looks up what begins at off, as far as it goes on in the same way, up to end.
func (c *qcowCursor) run(off, end int64) (qcowRun, error) {
	r, err := c.piece(off)
	if err != nil {
		return r, err
	}
	for r.kind != qcowPacked && r.len < end-off {
		next, err := c.piece(off + r.len)
		if err != nil || next.kind != r.kind || r.kind == qcowData && next.host != r.host+r.len {
			break // an error comes again when it is this place's turn
		}
		r.len += next.len
	}
	r.len = min(r.len, end-off)
	return r, nil
}

// Extents yields what the tables say.
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

// qcowBelowExtents are the extents of a backing file's disk, which may be shorter than the disk above it.
type qcowBelowExtents struct {
	next func() (image.Extent, error, bool)
	last image.Extent
}

// yield passes on those between two offsets; each call's are past those of the call before.
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
