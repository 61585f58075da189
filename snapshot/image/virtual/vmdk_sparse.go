package virtual

import (
	"bytes"
	"fmt"
	"iter"
)

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

// A vmdkSparse is a part that consists of grains. A directory points to tables, and these to the grains. Each table
// may have a redundant copy.
type vmdkSparse struct {
	file      *tableFile
	size      int64 // of the part, in bytes
	grain     int64 // bytes
	entries   int64 // of a table
	direct    int64 // offset of the directory
	redundant int64 // offset of the redundant directory; 0 if there is none
	first     int64 // lowest offset of a grain
	zeroed    bool
	packed    *origin // decompresses grains; nil if they are not compressed
	parent    vmdkParent
}

// newVMDKSparse checks a header, and that it describes a part of size bytes.
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
	// Some writers round the header's capacity up to whole grains; the descriptor has the disk's size.
	if capacity := int64(h.capacity) * vmdkSector; size > capacity || capacity-size >= int64(grain) {
		return nil, fmt.Errorf("%w: the descriptor says that there are %d bytes, the header %d", ErrDamaged, size, capacity)
	}
	s := &vmdkSparse{
		file: f, size: size, grain: int64(grain), entries: int64(h.entries), zeroed: h.flags&vmdkFlagZeroed != 0,
		parent: parent, first: vmdkSector,
	}
	if h.desc == 1 && h.descLen < vmdkDescriptorMax/vmdkSector { // the usual place
		s.first += int64(h.descLen) * vmdkSector
	}
	var err error
	if s.direct, err = s.directory(h.direct); err != nil {
		return nil, err
	}
	if h.flags&vmdkFlagRedundant != 0 && h.redundant != 0 {
		if s.redundant, err = s.directory(h.redundant); err != nil {
			return nil, fmt.Errorf("the redundant directory: %w", err)
		}
	}
	if h.flags&vmdkFlagPacked != 0 {
		s.packed = &origin{ReaderAt: newVMDKUnpacker(s)}
		return s, nil // a compressed grain's marker names its place
	}
	return s, apart(f.Size(), s.used)
}

// used yields all grains in the file. It skips invalid entries; readers report those.
func (s *vmdkSparse) used(yield func(span) error) error {
	grains := (s.size + s.grain - 1) / s.grain
	for index := int64(0); index < grains; {
		entries, absent, err := s.places(index, grains-index)
		if err != nil {
			return nil // the read of that grain fails too
		}
		for index += absent; len(entries) > 0; entries, index = entries[wordLen:], index+1 {
			entry := le32(entries)
			at, n := int64(entry)*vmdkSector, min(s.grain, s.size-index*s.grain)
			if entry == 0 || entry == 1 && s.zeroed || at < s.first || !s.file.holds(at, n) {
				continue
			}
			if err := yield(span{at, n}); err != nil {
				return err
			}
		}
	}
	return nil
}

// directory returns the offset of a directory, which must be inside the file.
func (s *vmdkSparse) directory(sector uint64) (int64, error) {
	span := s.grain * s.entries
	n := (s.size + span - 1) / span * wordLen
	if sector == 0 || sector > vmdkMax/vmdkSector || !s.file.holds(int64(sector)*vmdkSector, n) {
		return 0, fmt.Errorf("%w: its grain directory, %d bytes at sector %d, is past the file's end of %d bytes", ErrDamaged, n,
			sector, s.file.Size())
	}
	return int64(sector) * vmdkSector, nil
}

// places returns entries of one table, for up to n grains from index on, as bytes. If there is no table, it returns
// none, and the number of grains without one.
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

// confirm compares entries with those of the redundant table, and returns as many as it compared. If two differ, one
// is wrong, and choosing the wrong one would silently lose a grain: a zeroed table reads as zeros.
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
		var run piece // the current run, while it continues
		for off < end {
			index := off / s.grain
			entries, absent, err := s.places(index, (end-1)/s.grain-index+1)
			if err != nil {
				yield(piece{}, err)
				return
			}
			for i := int64(0); i < max(absent, int64(len(entries))/wordLen); {
				// All grains of a missing table are one step.
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
				if off += pc.n; off == to { // else the parent ended inside it
					i += max(absent, 1)
				}
			}
		}
		if run.n > 0 {
			yield(run, nil)
		}
	}
}

// piece returns the piece at off, for at most n bytes, all of them in one grain or without a table.
func (s *vmdkSparse) piece(off, n int64, entry uint32) (piece, error) {
	switch {
	case entry == 0:
		return s.parent.piece(off, n), nil
	case entry == 1 && s.zeroed:
		return piece{off: off, n: n}, nil
	case int64(entry)*vmdkSector < s.first:
		return piece{}, fmt.Errorf("%w: the grain at byte %d of the disk should be at sector %d, which is before all data", ErrDamaged, off, entry)
	case s.packed != nil:
		return piece{off, n, s.packed, off}, nil
	}
	at := int64(entry)*vmdkSector + off%s.grain
	if !s.file.holds(at, n) {
		return piece{}, fmt.Errorf("%w: the grain at byte %d of the disk is past the file's end, at sector %d", ErrDamaged, off, entry)
	}
	return piece{off, n, s.file.data, at}, nil
}
