package virtual

import (
	"bytes"
	"fmt"
	"strings"
)

const (
	vmdkHeaderLen = 512
	vmdkAtEnd     = 1<<64 - 1 // in place of the directory's sector: the footer has it

	vmdkFlagNewlines  = 1 << 0  // has the four bytes that detect a transfer as text
	vmdkFlagRedundant = 1 << 1  // has a second directory with its own tables
	vmdkFlagZeroed    = 1 << 2  // entry 1 of a table: a grain of zeros
	vmdkFlagPacked    = 1 << 16 // grains are compressed
	vmdkFlagMarkers   = 1 << 17 // markers describe the file's content
	vmdkFlagsRefuse   = 0xffff0000 &^ (vmdkFlagPacked | vmdkFlagMarkers)

	vmdkGrainMin = 4 << 10 // bytes
	vmdkGrainMax = 2 << 20 // bytes; 64 KiB is usual
	vmdkTableMin = 128     // entries
	vmdkTableMax = 512     // entries; the usual number
)

// A vmdkHeader is at the beginning of a sparse file. Its unit is the sector:
//
//	 0  KDMV
//	 4  u32  version, 1 to 3
//	 8  u32  flags
//	12  u64  capacity: the disk's length, perhaps rounded up to grains
//	20  u64  grain
//	28  u64  embedded descriptor
//	36  u64  its length
//	44  u32  entries of a grain table
//	48  u64  redundant grain directory
//	56  u64  grain directory
//	64  u64  first sector of the grains
//	72  u8   1: not closed properly
//	73  "\n \r\n"
//	77  u16  compression, 1 for deflate
type vmdkHeader struct {
	flags             uint32
	capacity, grain   uint64
	desc, descLen     uint64
	entries           uint32
	redundant, direct uint64
}

func parseVMDKHeader(p []byte) (*vmdkHeader, error) {
	version, packing := le32(p[4:]), uint32(p[77])|uint32(p[78])<<8
	h := &vmdkHeader{
		flags:    le32(p[8:]),
		capacity: le64(p[12:]), grain: le64(p[20:]),
		desc: le64(p[28:]), descLen: le64(p[36:]),
		entries:   le32(p[44:]),
		redundant: le64(p[48:]), direct: le64(p[56:]),
	}
	packed := h.flags&vmdkFlagPacked != 0
	switch {
	case !strings.HasPrefix(string(p), vmdkMagic):
		return nil, fmt.Errorf("%w: it has no header of a sparse VMDK", ErrDamaged)
	case version < 1 || version > 3:
		return nil, fmt.Errorf("%w: version %d of a sparse VMDK", ErrUnsupported, version)
	case h.flags&vmdkFlagNewlines != 0 && string(p[73:77]) != "\n \r\n":
		return nil, fmt.Errorf("%w: it was transferred as text; transfer it again, as binary", ErrDamaged)
	case h.flags&vmdkFlagsRefuse != 0:
		return nil, fmt.Errorf("%w: flags %#x of a sparse VMDK", ErrUnsupported, h.flags)
	case packing > 1:
		return nil, fmt.Errorf("%w: compression %d of a VMDK", ErrUnsupported, packing)
	case packed != (packing == 1):
		return nil, fmt.Errorf("%w: the header's flags and compression field contradict each other", ErrDamaged)
	case packed != (h.flags&vmdkFlagMarkers != 0):
		return nil, fmt.Errorf("%w: compressed grains without markers, or markers without them", ErrUnsupported)
	}
	return h, nil
}

// readVMDKHeader reads the header of a sparse file, or its footer if the header refers to that. The footer is in the
// second last sector: before it is its marker, and after it a sector of zeros.
func readVMDKHeader(f *tableFile) (*vmdkHeader, error) {
	p, err := f.bytes(0, vmdkHeaderLen)
	if err != nil {
		return nil, err
	}
	h, err := parseVMDKHeader(p)
	if err != nil || h.direct != vmdkAtEnd {
		return h, err
	}
	p, err = f.bytes(f.Size()-3*vmdkSector, 3*vmdkSector)
	if err != nil {
		return nil, err
	}
	announced := le32(p[8:]) == 0 && le32(p[12:]) == vmdkMarkFooter
	ended := bytes.Equal(p[2*vmdkSector:2*vmdkSector+16], make([]byte, 16))
	if !announced || !ended || string(p[vmdkSector:vmdkSector+4]) != vmdkMagic {
		return nil, fmt.Errorf("%w: its end is missing; transfer it again", ErrDamaged)
	}
	footer, err := parseVMDKHeader(p[vmdkSector:])
	if err == nil && (footer.direct == vmdkAtEnd || footer.flags != h.flags || footer.grain != h.grain) {
		err = fmt.Errorf("%w: its footer belongs to another file", ErrDamaged)
	}
	if err != nil {
		return nil, err
	}
	footer.desc, footer.descLen = h.desc, h.descLen
	return footer, nil
}

// vmdkSparseFile reads the header and descriptor of a disk in a single sparse file.
func vmdkSparseFile(f *tableFile) (*vmdkHeader, []byte, error) {
	h, err := readVMDKHeader(f)
	if err != nil {
		return nil, nil, err
	}
	if h.desc > vmdkMax/vmdkSector || h.descLen > vmdkDescriptorMax/vmdkSector {
		return nil, nil, fmt.Errorf("%w: a descriptor of %d sectors at sector %d", ErrDamaged, h.descLen, h.desc)
	}
	text, err := f.bytes(int64(h.desc)*vmdkSector, int64(h.descLen)*vmdkSector)
	if err != nil {
		return nil, nil, err
	}
	if h.desc == 0 || len(bytes.Trim(text, "\x00")) == 0 {
		return nil, nil, fmt.Errorf("%w: it is one part of a disk; name the small .vmdk file that lists all parts", ErrUnsupported)
	}
	return h, text, nil
}
