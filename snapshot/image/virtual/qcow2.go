package virtual

import (
	"fmt"

	"platter/snapshot/image"
)

// qcow2 is QEMU's format; docs/interop/qcow2 in QEMU describes it. All integers are big-endian, and the file consists
// of clusters of one length:
//
//	header      the first cluster: fields, extensions, the name of the backing file
//	L1 table    an entry for each L2 table: its offset; one table for the current disk, one for each snapshot
//	L2 tables   one cluster each: an entry for each cluster of the disk
//	clusters    the disk's bytes; compressed ones begin anywhere and may extend into the next
//	refcounts   how often each cluster of the file is used; only writers need them
const qcow2Name = "qcow2"

const qcow2Magic = "QFI\xfb"

// detectQcow2 also accepts versions that cannot be read, so that they are refused and not taken for raw disks.
func detectQcow2(e edges) bool {
	return len(e.head) >= 8 && string(e.head[:4]) == qcow2Magic
}

// A qcow2 is the virtual disk of a file and its backing files.
type qcow2 struct {
	path     string
	file     image.Disk
	fileSize int64 // bytes
	size     int64 // of the disk, in bytes
	version  uint32
	bits     uint  // of an offset in a cluster
	l1       int64 // offset of the L1 table
	zstd     bool  // clusters are compressed with zstd, not deflate
	extended bool  // L2 entries have 16 bytes and describe subclusters

	below  image.Disk // the backing file's disk; nil if there is none
	shared *qcowShared
}

var _ image.Disk = (*qcow2)(nil)

func openQcow2(o *opening) (image.Disk, error) {
	shared, err := newQcowShared()
	if err != nil {
		return nil, err
	}
	return openQcowLayer(o, shared)
}

// openQcowLayer opens one file of a chain.
func openQcowLayer(o *opening, shared *qcowShared) (image.Disk, error) {
	h, err := readQcowHeader(o)
	if err != nil {
		return nil, err
	}
	if err := h.refusal(o.path); err != nil {
		return nil, err
	}
	if h.incompatible&qcowCorrupt != 0 {
		o.note(fmt.Sprintf("%s is marked as corrupt: QEMU found its tables damaged and has stopped writing to it; "+
			"what can be read is read; see qemu-img check", o.path))
	}
	if o.Snapshot != "" {
		if err := h.useSnapshot(o, o.Snapshot); err != nil {
			return nil, err
		}
	}
	q := &qcow2{
		path: o.path, file: o.Disk, fileSize: o.Size(), size: h.size, version: h.version, bits: h.bits, l1: h.l1,
		zstd: h.compression == qcowZstd, extended: h.incompatible&qcowExtended != 0, shared: shared,
	}
	if err := q.checkL1(h.l1Len); err != nil {
		return nil, err
	}
	if o.Snapshot == "" {
		if err := q.checkOwn(); err != nil {
			return nil, err
		}
	}
	if h.backing != "" {
		if q.below, err = openQcowBacking(o, h, shared); err != nil {
			return nil, err
		}
	}
	return q, nil
}

// maxQcowL1 is the longest L1 table that QEMU reads, in bytes: enough for 2 PiB in clusters of 64 KiB.
const maxQcowL1 = 32 << 20

// checkL1 checks that the L1 table covers the whole disk and is inside the file.
func (q *qcow2) checkL1(entries int64) error {
	if q.size == 0 {
		return nil
	}
	need := (q.size-1)>>q.tableBits() + 1
	switch {
	case need > maxQcowL1/8:
		return fmt.Errorf("%w: a disk of %d bytes in clusters of %d", ErrUnsupported, q.size, q.cluster())
	case entries < need:
		return q.damaged("its L1 table has %d entries, a disk of %d bytes needs %d", entries, q.size, need)
	case q.l1 == 0 || q.l1&(q.cluster()-1) != 0 || q.l1 > q.fileSize-8*need:
		return q.damaged("its L1 table is said to be at byte %d, %d entries in a file of %d bytes", q.l1, need, q.fileSize)
	}
	return nil
}

// cluster returns the length of a cluster in bytes.
func (q *qcow2) cluster() int64 { return 1 << q.bits }

// entryBits returns the number of bits of an offset in an L2 entry.
func (q *qcow2) entryBits() uint {
	if q.extended {
		return 4
	}
	return 3
}

// tableBits returns the number of bits of an offset in the part of the disk that one L2 table covers.
func (q *qcow2) tableBits() uint { return q.bits + q.bits - q.entryBits() }

func (q *qcow2) damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s: %s; see qemu-img check", ErrDamaged, q.path, fmt.Sprintf(format, args...))
}

// Size returns the size in bytes.
func (q *qcow2) Size() int64 { return q.size }
