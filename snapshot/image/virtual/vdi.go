package virtual

import (
	"bytes"
	"fmt"
	"iter"
	"math/bits"

	"platter/snapshot/image"
)

const (
	vdiMagic     = "\x7f\x10\xda\xbe" // after 64 bytes of text for people
	vdiVersion   = 1<<16 | 1          // 1.1, from 2005; still the latest
	vdiHeaderLen = 0x1c8

	vdiDynamic = 1
	vdiFixed   = 2

	vdiFree = 1<<32 - 1 // an entry of the map: never written; zeros, because there is no parent
	vdiZero = 1<<32 - 2 // zeros

	vdiBlockMin  = 4 << 10 // bytes; 1 MiB is usual
	vdiBlockMax  = 1 << 30 // bytes
	vdiBlocksMax = 1 << 28 // of a disk: 256 TiB of blocks of 1 MiB
)

func detectVDI(e edges) bool {
	return len(e.head) >= vdiHeaderLen && string(e.head[0x40:0x44]) == vdiMagic
}

// A vdi consists of blocks. The map says for each block of the disk which block of the file holds it.
//
//	 40  u32  magic
//	 44  u32  version: major in the upper half, minor in the lower
//	 48  u32  length of the header from here on
//	 4c  u32  kind: dynamic, fixed, or a difference to another disk
//	 50  u32  flags
//	 54       256 bytes of comment
//	154  u32  offset of the map in the file, bytes
//	158  u32  offset of the blocks in the file, bytes
//	15c       geometry, four u32, unused; u32 reserved
//	170  u64  the disk's length in bytes
//	178  u32  length of a block
//	17c  u32  length of the extra data before each block in the file
//	180  u32  blocks of the disk
//	184  u32  blocks in the file
//	188       UUIDs: of the disk, of its last change, of its parent, of the parent's last change
type vdi struct {
	file         *tableFile
	table        int64 // offset of the map
	data         int64 // offset of the first block
	block, extra int64 // bytes of a block, and of the data before each
	blocks       int64 // of the disk
}

// openVDI opens a disk of VirtualBox. It rounds a size up to a multiple of 512, as qemu does.
func openVDI(o *opening) (image.Disk, error) {
	if o.Snapshot != "" {
		return nil, fmt.Errorf("%w: a VDI has no snapshots inside; name the file that VirtualBox made for it", ErrUnsupported)
	}
	f := newTableCache().file(o.Disk)
	head, err := f.bytes(0, vdiHeaderLen)
	if err != nil {
		return nil, err
	}
	version, kind, size := le32(head[0x44:]), le32(head[0x4c:]), le64(head[0x170:])
	v := &vdi{
		file:  f,
		table: int64(le32(head[0x154:])), data: int64(le32(head[0x158:])),
		block: int64(le32(head[0x178:])), extra: int64(le32(head[0x17c:])),
		blocks: int64(le32(head[0x180:])),
	}
	switch {
	case string(head[0x40:0x44]) != vdiMagic:
		return nil, fmt.Errorf("%w: it has no VDI header", ErrDamaged)
	case version != vdiVersion:
		return nil, fmt.Errorf("%w: version %d.%d of VDI; clone it with VBoxManage clonemedium first", ErrUnsupported, version>>16, version&0xffff)
	case kind != vdiDynamic && kind != vdiFixed || len(bytes.Trim(head[0x1a8:0x1c8], "\x00")) > 0:
		return nil, fmt.Errorf("%w: it is a differencing image; merge it with its parent first: VBoxManage clonemedium", ErrUnsupported)
	case v.block < vdiBlockMin || v.block > vdiBlockMax || bits.OnesCount64(uint64(v.block)) != 1:
		return nil, fmt.Errorf("%w: blocks of %d bytes", ErrDamaged, v.block)
	case v.extra >= vdiBlockMax:
		return nil, fmt.Errorf("%w: %d bytes before each block", ErrDamaged, v.extra)
	case v.blocks > vdiBlocksMax:
		return nil, fmt.Errorf("%w: a VDI of %d blocks; at most %d", ErrUnsupported, v.blocks, vdiBlocksMax)
	case size == 0 || size > uint64(v.blocks*v.block):
		return nil, fmt.Errorf("%w: a disk of %d bytes in %d blocks of %d bytes", ErrDamaged, size, v.blocks, v.block)
	case v.table < vdiHeaderLen || v.table%wordLen != 0 || !f.holds(v.table, v.blocks*wordLen):
		return nil, fmt.Errorf("%w: its block map, at byte %d, overlaps its header or is past the file's end", ErrDamaged, v.table)
	case v.data < v.table+v.blocks*wordLen:
		return nil, fmt.Errorf("%w: its data, at byte %d, begins inside its block map", ErrDamaged, v.data)
	}
	rounded := (int64(size) + 511) / 512 * 512
	if err := v.check(rounded); err != nil {
		return nil, err
	}
	return &mapped{layout: v, size: rounded}, nil
}

// check checks that no block of the file belongs to two of the disk. One of them would be wrong, and it is unknown
// which.
func (v *vdi) check(size int64) error {
	taken := make([]uint64, min(v.blocks, max(0, v.file.Size()-v.data)/(v.block+v.extra)+1)/64+1)
	for index := int64(0); index*v.block < size; {
		entries, err := v.file.words(v.table+index*wordLen, v.blocks-index)
		if err != nil {
			return err
		}
		for ; len(entries) > 0 && index*v.block < size; entries = entries[wordLen:] {
			if entry := le32(entries); entry < vdiZero {
				if err := v.inside(index, entry, min(v.block, size-index*v.block)); err != nil {
					return err
				}
				bit := uint64(1) << (entry % 64)
				if taken[entry/64]&bit != 0 {
					return fmt.Errorf("%w: block %d of the file belongs to block %d of the disk and to another one", ErrDamaged, entry, index)
				}
				taken[entry/64] |= bit
			}
			index++
		}
	}
	return nil
}

// at returns the offset in the file of a block.
func (v *vdi) at(entry uint32) int64 { return v.data + int64(entry)*(v.block+v.extra) + v.extra }

// inside checks that the first n bytes of a block are in the file.
func (v *vdi) inside(index int64, entry uint32, n int64) error {
	if int64(entry) >= v.blocks || !v.file.holds(v.at(entry), n) {
		return fmt.Errorf("%w: block %d of the disk points to block %d of the file, which does not exist", ErrDamaged, index, entry)
	}
	return nil
}

func (v *vdi) pieces(off, end int64) iter.Seq2[piece, error] {
	return func(yield func(piece, error) bool) {
		var run piece // the current run, while it continues
		for off < end {
			entries, err := v.file.words(v.table+off/v.block*wordLen, v.blocks-off/v.block)
			if err != nil {
				yield(piece{}, err)
				return
			}
			for ; len(entries) > 0 && off < end; entries = entries[wordLen:] {
				index := off / v.block
				pc := piece{off: off, n: min(end, (index+1)*v.block) - off}
				if entry := le32(entries); entry < vdiZero {
					if err := v.inside(index, entry, off%v.block+pc.n); err != nil {
						yield(piece{}, err) // the file changed after it was opened
						return
					}
					pc.from, pc.at = v.file.data, v.at(entry)+off%v.block
				}
				off += pc.n
				if run.n > 0 && run.from == pc.from && (pc.from == nil || run.at+run.n == pc.at) {
					run.n += pc.n
					continue
				}
				if run.n > 0 && !yield(run, nil) {
					return
				}
				run = pc
			}
		}
		if run.n > 0 {
			yield(run, nil)
		}
	}
}
