package virtual

import (
	"encoding/binary"
	"fmt"
	"math/bits"

	"platter/snapshot/image"
)

// The header of a dynamic VHD, 1024 bytes:
//
//	 0  "cxsparse"                 8  unused, u64 of ones
//	16  offset of the table u64   24  version u32 (0x00010000)
//	28  entries of the table u32  32  length of a block u32, in bytes
//	36  checksum u32              40  … of the parent
//
// The table has a u32 for each block of the disk: its sector in the file, or all ones if it has none. At that sector
// is the block's bitmap, padded to whole sectors: a bit for each sector, the first one in the highest bit of the
// first byte. The block follows. A sector with a clear bit was never written and reads as zeros.
const (
	vhdHeaderCookie = "cxsparse"
	vhdHeaderLen    = 1024
	vhdUnused       = 1<<32 - 1 // in the table

	vhdMaxBlock  = 256 << 20 // bytes
	vhdMaxBlocks = 1 << 26   // of a disk: reading their table takes seconds, not minutes
)

// A vhdTable finds blocks.
type vhdTable struct {
	pages     *vhdPages
	fileLen   int64 // bytes, without the footer at the end
	header    int64 // its offset
	at        int64 // offset of the table
	len       int64 // of the table, in bytes
	size      int64 // of the disk, in bytes
	blockLen  int64 // bytes
	bitmapLen int64 // bytes, with its padding
}

func openVHDDynamic(file image.Disk, f vhdFooter, size int64) (image.Disk, error) {
	if f.header < vhdFooterLen || f.header%vhdSector != 0 ||
		f.header > uint64(file.Size()) || uint64(file.Size())-f.header < vhdHeaderLen {
		return nil, fmt.Errorf("%w: its footer puts its header at byte %d of %d", ErrDamaged, f.header, file.Size())
	}
	var p [vhdHeaderLen]byte
	if err := vhdReadFull(file, p[:], int64(f.header)); err != nil {
		return nil, err
	}
	if string(p[:8]) != vhdHeaderCookie || vhdSum(p[:], 36) != binary.BigEndian.Uint32(p[36:]) {
		return nil, fmt.Errorf("%w: the checksum of its header is wrong", ErrDamaged)
	}
	if v := binary.BigEndian.Uint32(p[24:]); v>>16 != vhdVersion>>16 {
		return nil, fmt.Errorf("%w: VHD header version %d.%d", ErrUnsupported, v>>16, v&0xffff)
	}
	end := file.Size()
	var last [vhdFooterLen]byte
	if err := vhdReadFull(file, last[:], end-vhdFooterLen); err != nil {
		return nil, err
	}
	if _, err := parseVHDFooter(last[:]); err == nil { // the footer is missing if a writer crashed
		end -= vhdFooterLen
	}
	t := &vhdTable{
		pages:    newVHDPages(file),
		fileLen:  end,
		header:   int64(f.header),
		len:      int64(binary.BigEndian.Uint32(p[28:])) * 4,
		size:     size,
		blockLen: int64(binary.BigEndian.Uint32(p[32:])),
	}
	if err := t.check(binary.BigEndian.Uint64(p[16:])); err != nil {
		return nil, err
	}
	if err := apart(end, t.used); err != nil {
		return nil, err
	}
	return &vhdRuns{file: file, size: size, run: t.run}, nil
}

// check checks the table, at an offset in the file, against the file and the disk.
func (t *vhdTable) check(at uint64) error {
	if t.blockLen < vhdSector || t.blockLen > vhdMaxBlock || t.blockLen&(t.blockLen-1) != 0 {
		return fmt.Errorf("%w: blocks of %d bytes", ErrUnsupported, t.blockLen)
	}
	t.bitmapLen = (t.blockLen/vhdSector + 8*vhdSector - 1) / (8 * vhdSector) * vhdSector
	blocks := (t.size + t.blockLen - 1) / t.blockLen
	if blocks > vhdMaxBlocks {
		return fmt.Errorf("%w: %d blocks of %d bytes", ErrUnsupported, blocks, t.blockLen)
	}
	if t.len < blocks*4 {
		return fmt.Errorf("%w: its table has %d entries for a disk of %d blocks", ErrDamaged, t.len/4, blocks)
	}
	if t.len = blocks * 4; at%vhdSector != 0 || at < vhdFooterLen || at > uint64(t.fileLen) || t.fileLen-int64(at) < t.len {
		return fmt.Errorf("%w: its header puts its table at byte %d of %d", ErrDamaged, at, t.fileLen)
	}
	t.at = int64(at)
	if vhdOverlap(t.at, t.len, t.header, vhdHeaderLen) {
		return fmt.Errorf("%w: its table overlaps its header", ErrDamaged)
	}
	return nil
}

// vhdOverlap reports whether n bytes at a and m bytes at b overlap.
func vhdOverlap(a, n, b, m int64) bool { return n > 0 && m > 0 && a < b+m && b < a+n }

// vhdEntries is the number of table entries examined together: most of a large disk is empty.
const vhdEntries = 64

// run returns the run at off. It ends with the block, with adjacent missing blocks, or where the bits that are read
// at once change.
func (t *vhdTable) run(off int64) (vhdRun, error) {
	block, in := off/t.blockLen, off%t.blockLen
	var buf [vhdEntries * 4]byte
	p := buf[:min(int64(len(buf)), t.len-block*4)]
	if err := t.pages.read(p, t.at+block*4); err != nil {
		return vhdRun{}, err
	}
	var unused int64
	for q := p; len(q) > 0 && binary.BigEndian.Uint32(q) == vhdUnused; q = q[4:] {
		unused++
	}
	if unused > 0 {
		return vhdRun{len: min(unused*t.blockLen-in, t.size-off), zero: true}, nil
	}
	at, blockLen, ok := t.place(block, binary.BigEndian.Uint32(p))
	r := vhdRun{len: blockLen - in, zero: true}
	if !ok {
		return r, fmt.Errorf("%w: the table puts block %d at byte %d, where it cannot be: was the file truncated?", ErrDamaged, block, at)
	}
	n, set, err := t.bits(at, in/vhdSector, (blockLen+vhdSector-1)/vhdSector)
	if err != nil {
		return r, err
	}
	return vhdRun{at: at + t.bitmapLen + in, len: min(n*vhdSector-in%vhdSector, r.len), zero: !set}, nil
}

// place returns a block's offset in the file by its entry, and the length of the disk in it in bytes. It returns
// false if the entry is invalid.
func (t *vhdTable) place(block int64, entry uint32) (at, blockLen int64, ok bool) {
	at, blockLen = int64(entry)*vhdSector, min(t.blockLen, t.size-block*t.blockLen)
	n := t.bitmapLen + blockLen
	return at, blockLen, at >= vhdFooterLen && at+n <= t.fileLen && !vhdOverlap(at, n, t.header, vhdHeaderLen) && !vhdOverlap(at, n, t.at, t.len)
}

// used yields all blocks in the file with their bitmaps. It skips invalid entries; readers report those.
func (t *vhdTable) used(yield func(span) error) error {
	var buf [vhdPageLen]byte
	for off := int64(0); off < t.len; {
		p := buf[:min(int64(len(buf)), t.len-off)]
		if err := t.pages.read(p, t.at+off); err != nil {
			return err
		}
		for ; len(p) > 0; p, off = p[4:], off+4 {
			entry := binary.BigEndian.Uint32(p)
			if entry == vhdUnused {
				continue
			}
			if at, n, ok := t.place(off/4, entry); ok {
				if err := yield(span{at, t.bitmapLen + n}); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// bits returns whether a bit is set in the bitmap at an offset in the file, and how many bits before end, at least
// one, are alike from there on.
func (t *vhdTable) bits(at, bit, end int64) (int64, bool, error) {
	var buf [256]byte
	first := bit / 8
	p := buf[:min(int64(len(buf)), (end+7)/8-first)]
	if err := t.pages.read(p, at+first); err != nil {
		return 0, false, err
	}
	set := p[0]>>(7-bit%8)&1 == 1
	var n int64
	for i, b := range p {
		if set {
			b = ^b // now the bits that differ from the first are ones
		}
		have := int64(8)
		if i == 0 {
			b, have = b<<(bit%8), 8-bit%8
		}
		if like := int64(bits.LeadingZeros8(b)); like < have {
			return min(n+like, end-bit), set, nil
		}
		n += have
	}
	return min(n, end-bit), set, nil
}
