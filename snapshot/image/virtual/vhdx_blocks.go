package virtual

import (
	"encoding/binary"
	"fmt"

	"platter/snapshot/image"
)

// The table has a u64 for each block: its state in the lowest three bits, where it is in the file in the upper 44, in
// MiB. After as many as cover 2^23 sectors comes one for their bitmap, which only differencing files have.
const (
	vhdxNotPresent = iota
	vhdxUndefined
	vhdxZero
	vhdxUnmappedOld // of version 0.95, which qemu reads too
	_
	vhdxUnmapped
	vhdxPresent
	vhdxPartly
)

// vhdxChunk is how many sectors lie between two bitmaps in the table.
const vhdxChunk = 1 << 23

// A vhdxTable finds blocks.
type vhdxTable struct {
	file  *vhdxFile
	pages *vhdPages
	shape vhdxShape
}

func openVHDXBlocks(f *vhdxFile, shape vhdxShape) (image.Disk, error) {
	t := &vhdxTable{f, newVHDPages(f.Disk), shape}
	if blocks := (shape.size + shape.blockLen - 1) / shape.blockLen; blocks > 0 && (t.entry(blocks-1)+1)*8 > f.table.len {
		return nil, fmt.Errorf("%w: its table has %d bytes, for a disk of %d blocks", ErrDamaged, f.table.len, blocks)
	}
	if err := apart(f.Size(), t.used); err != nil {
		return nil, err
	}
	return &vhdRuns{file: f.Disk, size: shape.size, run: t.run}, nil
}

// perChunk is how many blocks lie between two bitmaps.
func (t *vhdxTable) perChunk() int64 { return vhdxChunk * t.shape.sector / t.shape.blockLen }

// entry returns which entry of the table is a block's.
func (t *vhdxTable) entry(block int64) int64 { return block + block/t.perChunk() }

// run tells where the disk goes on at off: to the end of a block, or of some that are zeros.
func (t *vhdxTable) run(off int64) (vhdRun, error) {
	block, in := off/t.shape.blockLen, off%t.shape.blockLen
	last := (t.shape.size - 1) / t.shape.blockLen
	var buf [vhdEntries * 8]byte
	p := buf[:8*min(vhdEntries, last+1-block, t.perChunk()-block%t.perChunk())]
	if err := t.pages.read(p, t.file.table.at+t.entry(block)*8); err != nil {
		return vhdRun{}, err
	}
	var zeros int64
	for q := p; len(q) > 0 && vhdxReadsZero(binary.LittleEndian.Uint64(q)); q = q[8:] {
		zeros++
	}
	if zeros > 0 {
		return vhdRun{len: min(zeros*t.shape.blockLen-in, t.shape.size-off), zero: true}, nil
	}
	entry := binary.LittleEndian.Uint64(p)
	switch state := entry & 7; state {
	case vhdxPresent:
	case vhdxPartly:
		return vhdRun{}, fmt.Errorf("%w: block %d is partly in another file, and none is named", ErrDamaged, block)
	default:
		return vhdRun{}, fmt.Errorf("%w: block %d has state %d", ErrDamaged, block, state)
	}
	at, ok := t.place(block, entry)
	if !ok {
		return vhdRun{}, fmt.Errorf("%w: block %d is said to be at byte %d, where it cannot be: was the file cut short?", ErrDamaged, block, entry&^(vhdxMiB-1))
	}
	return vhdRun{at: at.at + in, len: at.n - in}, nil
}

// place returns where in the file a block is that its entry says is there; false where nothing of it can be.
func (t *vhdxTable) place(block int64, entry uint64) (span, bool) {
	// The last block may be cut off at the end of the disk: qemu made such files.
	blockLen := min(t.shape.blockLen, t.shape.size-block*t.shape.blockLen)
	at := entry &^ (vhdxMiB - 1)
	return span{int64(at), blockLen}, entry&(vhdxMiB-1) == vhdxPresent && at <= uint64(t.file.Size()) && t.file.free(int64(at), blockLen)
}

// used yields all blocks that are in the file. What cannot be is an error to who reads it.
func (t *vhdxTable) used(yield func(span) error) error {
	var buf [vhdPageLen]byte
	blocks := (t.shape.size + t.shape.blockLen - 1) / t.shape.blockLen
	for block := int64(0); block < blocks; {
		p := buf[:8*min(int64(len(buf))/8, blocks-block, t.perChunk()-block%t.perChunk())]
		if err := t.pages.read(p, t.file.table.at+t.entry(block)*8); err != nil {
			return err
		}
		for ; len(p) > 0; p, block = p[8:], block+1 {
			entry := binary.LittleEndian.Uint64(p)
			if entry&7 != vhdxPresent {
				continue
			}
			if at, ok := t.place(block, entry); ok {
				if err := yield(at); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func vhdxReadsZero(entry uint64) bool {
	switch entry & 7 {
	case vhdxNotPresent, vhdxUndefined, vhdxZero, vhdxUnmapped, vhdxUnmappedOld:
		return true
	}
	return false
}
