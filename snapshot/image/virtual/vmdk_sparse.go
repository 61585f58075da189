package virtual

import (
	"bytes"
	"fmt"
	"iter"
	"strings"
)

const (
	vmdkHeaderLen = 512
	vmdkAtEnd     = 1<<64 - 1 // instead of the directory's sector: it is in the footer

	vmdkFlagNewlines  = 1 << 0  // the four bytes that a transfer as text would change are there
	vmdkFlagRedundant = 1 << 1  // there is a second directory with tables of its own
	vmdkFlagZeroed    = 1 << 2  // entry 1 of a table: a grain of zeros
	vmdkFlagPacked    = 1 << 16 // grains are compressed
	vmdkFlagMarkers   = 1 << 17 // what is in the file is told by markers
	vmdkFlagsRefuse   = 0xffff0000 &^ (vmdkFlagPacked | vmdkFlagMarkers)

	vmdkGrainMin = 4 << 10 // bytes
	vmdkGrainMax = 2 << 20 // bytes; everybody makes 64 KiB
	vmdkTableMin = 128     // entries
	vmdkTableMax = 512     // entries; everybody makes that many
)

// A vmdkHeader begins a sparse file. What it counts is sectors:
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
//	64  u64  where grains begin
//	72  u8   1: it was not closed
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
		return nil, fmt.Errorf("%w: no header of a sparse VMDK", ErrDamaged)
	case version < 1 || version > 3:
		return nil, fmt.Errorf("%w: version %d of a sparse VMDK", ErrUnsupported, version)
	case h.flags&vmdkFlagNewlines != 0 && string(p[73:77]) != "\n \r\n":
		return nil, fmt.Errorf("%w: it was transferred as text; transfer it again, as binary", ErrDamaged)
	case h.flags&vmdkFlagsRefuse != 0:
		return nil, fmt.Errorf("%w: flags %#x of a sparse VMDK", ErrUnsupported, h.flags)
	case packing > 1:
		return nil, fmt.Errorf("%w: compression %d of a VMDK", ErrUnsupported, packing)
	case packed != (packing == 1):
		return nil, fmt.Errorf("%w: one half of the header says that it is compressed, the other that it is not", ErrDamaged)
	case packed != (h.flags&vmdkFlagMarkers != 0):
		return nil, fmt.Errorf("%w: compressed grains without markers, or markers without them", ErrUnsupported)
	}
	return h, nil
}

// readVMDKHeader reads the header of a sparse file, or where that says so its footer. A footer is the last but one of the
// sectors; behind it is a sector of zeros, before it one that announces it.
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
		err = fmt.Errorf("%w: its footer is that of another file", ErrDamaged)
	}
	if err != nil {
		return nil, err
	}
	footer.desc, footer.descLen = h.desc, h.descLen
	return footer, nil
}

// vmdkSparseFile reads header and descriptor of a disk that is one sparse file.
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
		return nil, nil, fmt.Errorf("%w: it is one part of a disk; give the small .vmdk file that names all parts", ErrUnsupported)
	}
	return h, text, nil
}

// openVMDKExtent opens a sparse file that a descriptor names.
func openVMDKExtent(f *tableFile, e vmdkExtent, parent vmdkParent) (layout, error) {
	magic, err := f.bytes(0, min(f.Size(), int64(len(vmdkMagicSE))))
	if err == nil {
		err = refuseVMDK(magic)
	}
	var h *vmdkHeader
	if err == nil {
		h, err = readVMDKHeader(f)
	}
	var s *vmdkSparse
	if err == nil {
		s, err = newVMDKSparse(f, h, e.sectors*vmdkSector, parent)
	}
	if err != nil {
		return nil, fmt.Errorf("part %q: %w", e.name, err)
	}
	return s, nil
}

// vmdkSparse is a part that is kept in grains. A directory leads to tables, and those to the grains. For each table there
// may be a second one, which says the same.
type vmdkSparse struct {
	file      *tableFile
	size      int64 // of the part, in bytes
	grain     int64 // bytes
	entries   int64 // of a table
	direct    int64 // byte of the directory
	redundant int64 // byte of the second directory; 0 for none
	first     int64 // byte that no grain begins before
	zeroed    bool
	packed    *origin // unpacks grains; nil where they are not compressed
	parent    vmdkParent
}

// newVMDKSparse checks a header, and that a part of size bytes is what it is about.
func newVMDKSparse(f *tableFile, h *vmdkHeader, size int64, parent vmdkParent) (*vmdkSparse, error) {
	grain := h.grain * vmdkSector
	switch {
	case h.grain > vmdkGrainMax/vmdkSector || grain < vmdkGrainMin || grain&(grain-1) != 0:
		return nil, fmt.Errorf("%w: grains of %d sectors", ErrDamaged, h.grain)
	case h.entries < vmdkTableMin || h.entries > vmdkTableMax:
		return nil, fmt.Errorf("%w: grain tables of %d entries", ErrDamaged, h.entries)
	case h.capacity > vmdkMax/vmdkSector:
		return nil, fmt.Errorf("%w: a sparse VMDK of %d sectors", ErrUnsupported, h.capacity)
	}
	// Some round the header's number up to whole grains; the descriptor has the disk's.
	if capacity := int64(h.capacity) * vmdkSector; size > capacity || capacity-size >= int64(grain) {
		return nil, fmt.Errorf("%w: the descriptor says that there are %d bytes, the header %d", ErrDamaged, size, capacity)
	}
	s := &vmdkSparse{file: f, size: size, grain: int64(grain), entries: int64(h.entries), zeroed: h.flags&vmdkFlagZeroed != 0,
		parent: parent, first: vmdkSector}
	if h.desc == 1 && h.descLen < vmdkDescriptorMax/vmdkSector { // where everybody has it
		s.first += int64(h.descLen) * vmdkSector
	}
	var err error
	if s.direct, err = s.directory(h.direct); err != nil {
		return nil, err
	}
	if h.flags&vmdkFlagRedundant != 0 && h.redundant != 0 {
		if s.redundant, err = s.directory(h.redundant); err != nil {
			return nil, fmt.Errorf("the second one: %w", err)
		}
	}
	if h.flags&vmdkFlagPacked != 0 {
		s.packed = &origin{ReaderAt: newVMDKUnpacker(s)}
	}
	return s, nil
}

// directory returns the byte of a directory, which has to lie inside the file.
func (s *vmdkSparse) directory(sector uint64) (int64, error) {
	span := s.grain * s.entries
	n := (s.size + span - 1) / span * wordLen
	if sector == 0 || sector > vmdkMax/vmdkSector || !s.file.holds(int64(sector)*vmdkSector, n) {
		return 0, fmt.Errorf("%w: its grain directory, %d bytes at sector %d, lies past the file's end of %d bytes", ErrDamaged, n,
			sector, s.file.Size())
	}
	return int64(sector) * vmdkSector, nil
}

// places returns entries of one table, for up to n grains from the index on, in the bytes that they are in. Where there is
// no table it returns none, and for how many grains that is so.
func (s *vmdkSparse) places(index, n int64) (entries []byte, absent int64, err error) {
	table, at := index/s.entries, index%s.entries
	n = min(n, s.entries-at)
	entry, err := s.file.words(s.direct+table*wordLen, 1)
	if err != nil {
		return nil, 0, err
	}
	sector := int64(le32(entry))
	if sector > 0 {
		if entries, err = s.file.words(sector*vmdkSector+at*wordLen, n); err != nil {
			return nil, 0, err
		}
	}
	if s.redundant > 0 {
		if entries, err = s.confirm(table, at, sector, entries); err != nil {
			return nil, 0, err
		}
	}
	if sector == 0 {
		return nil, n, nil
	}
	return entries, 0, nil
}

// confirm compares entries with those of the second table, and returns as many as it compared. One of two that differ is
// wrong, and to take the wrong one is to lose a grain without a word: a table that was zeroed reads as zeros.
func (s *vmdkSparse) confirm(table, at, sector int64, entries []byte) ([]byte, error) {
	entry, err := s.file.words(s.redundant+table*wordLen, 1)
	if err != nil {
		return nil, err
	}
	second := int64(le32(entry))
	same := (second == 0) == (sector == 0)
	if same && second > 0 {
		other, err := s.file.words(second*vmdkSector+at*wordLen, int64(len(entries)/wordLen))
		if err != nil {
			return nil, err
		}
		entries = entries[:min(len(entries), len(other))]
		same = bytes.Equal(entries, other)
	}
	if !same {
		return nil, fmt.Errorf("%w: grain table %d and its copy differ, as after a crash: shut the machine down, then repair the "+
			"disk with vmware-vdiskmanager -R; or take the first as qemu-img convert does", ErrDamaged, table)
	}
	return entries, nil
}

func (s *vmdkSparse) pieces(off, end int64) iter.Seq2[piece, error] {
	return func(yield func(piece, error) bool) {
		var run piece // what was found, as long as it goes on
		for off < end {
			index := off / s.grain
			entries, absent, err := s.places(index, (end-1)/s.grain-index+1)
			if err != nil {
				yield(piece{}, err)
				return
			}
			for i := int64(0); i < max(absent, int64(len(entries))/wordLen); {
				// All grains of a table that is not there are one step.
				to, entry := min(end, (index+absent)*s.grain), uint32(0)
				if absent == 0 {
					to, entry = min(end, (index+i+1)*s.grain), le32(entries[i*wordLen:])
				}
				pc, err := s.piece(off, to-off, entry)
				if err != nil {
					yield(piece{}, err)
					return
				}
				switch {
				case run.n > 0 && run.from == pc.from && (pc.from == nil || run.at+run.n == pc.at):
					run.n += pc.n
				case run.n > 0 && !yield(run, nil):
					return
				default:
					run = pc
				}
				if off += pc.n; off == to { // else the disk below ended inside it
					i += max(absent, 1)
				}
			}
		}
		if run.n > 0 {
			yield(run, nil)
		}
	}
}

// piece says where n bytes at off are, which all lie in one grain, or have no table. It may say it of fewer.
func (s *vmdkSparse) piece(off, n int64, entry uint32) (piece, error) {
	switch {
	case entry == 0:
		return s.parent.piece(off, n), nil
	case entry == 1 && s.zeroed:
		return piece{off: off, n: n}, nil
	case int64(entry)*vmdkSector < s.first:
		return piece{}, fmt.Errorf("%w: the grain at byte %d of the disk is said to be at sector %d, before all data", ErrDamaged, off, entry)
	case s.packed != nil:
		return piece{off, n, s.packed, off}, nil
	}
	at := int64(entry)*vmdkSector + off%s.grain
	if !s.file.holds(at, n) {
		return piece{}, fmt.Errorf("%w: the grain at byte %d of the disk lies past the file's end, at sector %d", ErrDamaged, off, entry)
	}
	return piece{off, n, s.file.data, at}, nil
}
