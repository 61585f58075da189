package virtual

import (
	"bytes"
	"fmt"
	"iter"
	"math/bits"

	"platter/snapshot/image"
)

const (
	vdiMagic     = "\x7f\x10\xda\xbe" // after 64 bytes of text for the eye
	vdiVersion   = 1<<16 | 1          // 1.1, of 2005; nothing came after it
	vdiHeaderLen = 0x1c8

	vdiDynamic = 1
	vdiFixed   = 2

	vdiFree = 1<<32 - 1 // an entry of the map: never written; zeros, as there is no disk below
	vdiZero = 1<<32 - 2 // zeros

	vdiBlockMin  = 4 << 10 // bytes; everybody makes 1 MiB
	vdiBlockMax  = 1 << 30 // bytes
	vdiBlocksMax = 1 << 28 // of a disk: 256 TiB of blocks of 1 MiB
)

func detectVDI(e edges) bool {
	return len(e.head) >= vdiHeaderLen && string(e.head[0x40:0x44]) == vdiMagic
}

// A vdi is kept in blocks. The map says for each block of the disk which block of the file has it.
//
//	 40  u32  magic
//	 44  u32  version: major in the upper half, minor in the lower
//	 48  u32  length of the header from here on
//	 4c  u32  kind: dynamic, fixed, or a difference to another disk
//	 50  u32  flags
//	 54       256 bytes of comment
//	154  u32  map, in bytes of the file
//	158  u32  blocks, in bytes of the file
//	15c       four u32 of geometry that nobody uses, and one of nothing
//	170  u64  the disk's length in bytes
//	178  u32  length of a block
//	17c  u32  length of what is before each block in the file
//	180  u32  blocks of the disk
//	184  u32  blocks in the file
//	188       UUIDs: of the disk, of what is in it, of the disk below, of what was in that
type vdi struct {
	file         *tableFile
	table        int64 // byte of the map
	data         int64 // byte of the first block
	block, extra int64 // bytes of a block, and of what is before each
	blocks       int64 // of the disk
}

// openVDI opens a disk of VirtualBox. A length that is no multiple of 512 is rounded up, as qemu does.
func openVDI(o *opening) (image.Disk, error) {
	if o.Snapshot != "" {
		return nil, fmt.Errorf("%w: a VDI has no snapshots inside; give the file that VirtualBox made for it", ErrUnsupported)
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
		return nil, fmt.Errorf("%w: no header of a VDI", ErrDamaged)
	case version != vdiVersion:
		return nil, fmt.Errorf("%w: version %d.%d of VDI; clone it with VBoxManage clonemedium first", ErrUnsupported, version>>16, version&0xffff)
	case kind != vdiDynamic && kind != vdiFixed || len(bytes.Trim(head[0x1a8:0x1c8], "\x00")) > 0:
		return nil, fmt.Errorf("%w: it is a difference to another disk; make one of both with VBoxManage clonemedium first", ErrUnsupported)
	case v.block < vdiBlockMin || v.block > vdiBlockMax || bits.OnesCount64(uint64(v.block)) != 1:
		return nil, fmt.Errorf("%w: blocks of %d bytes", ErrDamaged, v.block)
	case v.extra >= vdiBlockMax:
		return nil, fmt.Errorf("%w: %d bytes before each block", ErrDamaged, v.extra)
	case v.blocks > vdiBlocksMax:
		return nil, fmt.Errorf("%w: a VDI of %d blocks; at most %d", ErrUnsupported, v.blocks, vdiBlocksMax)
	case size == 0 || size > uint64(v.blocks*v.block):
		return nil, fmt.Errorf("%w: a disk of %d bytes in %d blocks of %d bytes", ErrDamaged, size, v.blocks, v.block)
	case v.table < vdiHeaderLen || v.table%wordLen != 0 || !f.holds(v.table, v.blocks*wordLen):
		return nil, fmt.Errorf("%w: its block map, at byte %d, lies over its header or past its end", ErrDamaged, v.table)
	case v.data < v.table+v.blocks*wordLen:
		return nil, fmt.Errorf("%w: its data, at byte %d, begins inside its block map", ErrDamaged, v.data)
	}
	rounded := (int64(size) + 511) / 512 * 512
	if err := v.check(rounded); err != nil {
		return nil, err
	}
	return &mapped{layout: v, size: rounded}, nil
}

// check holds that no block of the file is two of the disk. One of the two would be wrong, and nobody could say which.
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
					return fmt.Errorf("%w: block %d of the file is block %d of the disk and another one, too", ErrDamaged, entry, index)
				}
				taken[entry/64] |= bit
			}
			index++
		}
	}
	return nil
}

// at returns the byte of the file at which a block begins.
func (v *vdi) at(entry uint32) int64 { return v.data + int64(entry)*(v.block+v.extra) + v.extra }

// inside holds that the first n bytes of a block are in the file.
func (v *vdi) inside(index int64, entry uint32, n int64) error {
	if int64(entry) >= v.blocks || !v.file.holds(v.at(entry), n) {
		return fmt.Errorf("%w: block %d of the disk is said to be block %d of the file, which has none", ErrDamaged, index, entry)
	}
	return nil
}

func (v *vdi) pieces(off, end int64) iter.Seq2[piece, error] {
	return func(yield func(piece, error) bool) {
		var run piece // what was found, as long as it goes on
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
						yield(piece{}, err) // it changed since it was opened
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
