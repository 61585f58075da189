package virtual

import (
	"encoding/binary"
	"fmt"

	"platter/snapshot/image"
)

// The table has a u64 for each block: its state in the lowest three bits, and its offset in the file in MiB in the
// upper 44. After the entries for 2^23 sectors comes one for their bitmap, which only differencing files have.
const (
	vhdxNotPresent = iota
	vhdxUndefined
	vhdxZero
	vhdxUnmappedOld // of version 0.95; qemu reads it too
	_
	vhdxUnmapped
	vhdxPresent
	vhdxPartly
)

// vhdxChunk is the number of sectors between two bitmap entries in the table.
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
		return nil, fmt.Errorf("%w: its table has %d bytes for a disk of %d blocks", ErrDamaged, f.table.len, blocks)
	}
	if err := apart(f.Size(), t.used); err != nil {
		return nil, err
	}
	return &vhdRuns{file: f.Disk, size: shape.size, run: t.run}, nil
}

// perChunk returns the number of blocks between two bitmap entries.
func (t *vhdxTable) perChunk() int64 { return vhdxChunk * t.shape.sector / t.shape.blockLen }

// entry returns the position of a block's entry in the table.
func (t *vhdxTable) entry(block int64) int64 { return block + block/t.perChunk() }

// run returns the run at off, up to the end of a block or of adjacent zero blocks.
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
		return vhdRun{}, fmt.Errorf("%w: block %d is partly in a parent, but the file names none", ErrDamaged, block)
	default:
		return vhdRun{}, fmt.Errorf("%w: block %d has state %d", ErrDamaged, block, state)
	}
	at, ok := t.place(block, entry)
	if !ok {
		return vhdRun{}, fmt.Errorf("%w: the table puts block %d at byte %d, where it cannot be: was the file truncated?", ErrDamaged, block, entry&^(vhdxMiB-1))
	}
	return vhdRun{at: at.at + in, len: at.n - in}, nil
}

// place returns the span of an allocated block in the file, and false if its entry is invalid.
func (t *vhdxTable) place(block int64, entry uint64) (span, bool) {
	// The last block may end with the disk: qemu has written such files.
	blockLen := min(t.shape.blockLen, t.shape.size-block*t.shape.blockLen)
	at := entry &^ (vhdxMiB - 1)
	return span{int64(at), blockLen}, entry&(vhdxMiB-1) == vhdxPresent && at <= uint64(t.file.Size()) && t.file.free(int64(at), blockLen)
}

// used yields all blocks in the file. It skips invalid entries; readers report those.
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
