package virtual

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"iter"

	"platter/snapshot/image"
)

// The log is a ring of 4 KiB sectors. A program that changes a VHDX first logs the changes to its tables. If it
// crashes, the file is valid only after its log is replayed. An entry begins on a sector and may wrap around:
//
//	 0  "loge"                    4  checksum u32 of the whole entry   8  length u32
//	12  tail u32: offset in the log of the oldest valid entry         16  number u64, counting up
//	24  count of descriptors u32, 4 bytes                             32  log GUID
//	48  minimum file length before u64                                56  minimum file length afterwards u64
//	64  descriptors, 32 bytes each, padded to a sector
//	    then a sector for each data descriptor
//
//	desc  "desc" ‖ last 4 bytes of the sector ‖ its first 8 ‖ offset in the file u64 ‖ number u64
//	zero  "zero" ‖ 4 bytes ‖ length of zeros u64 ‖ offset in the file u64 ‖ number u64
//	data  "data" ‖ upper half of the number u32 ‖ the 4084 bytes in between ‖ lower half u32
const (
	vhdxLogSector = 4096

	// vhdxLogMax is the longest log that is replayed, in bytes: it is held in memory. All known writers make logs of
	// 1 MiB.
	vhdxLogMax = 64 << 20
	// vhdxZerosMax is the maximum number of zero runs in a log: each read examines all of them.
	vhdxZerosMax = 1024
)

// A vhdxLog is a log in memory.
type vhdxLog struct {
	ring   []byte
	guid   vhdxGUID
	begun  int   // number of entries found, valid or not
	summed int64 // bytes checksummed so far
}

// A vhdxEntry is an entry of a log.
type vhdxEntry struct {
	at, len       int
	tail          int64
	number        uint64
	before, after uint64 // file lengths
}

// vhdxReplay returns the file as it is after its log is replayed. It does not change the file.
func vhdxReplay(file image.Disk, region vhdxRegion, guid vhdxGUID) (image.Disk, error) {
	const advice = "let a program replay it that may change the file: qemu-img check -r all, or attach it once in Hyper-V"
	if region.len > vhdxLogMax {
		return nil, fmt.Errorf("%w: its log of %d MiB must be replayed: %s", ErrUnsupported, region.len/vhdxMiB, advice)
	}
	l := &vhdxLog{ring: make([]byte, region.len), guid: guid}
	if err := vhdReadFull(file, l.ring, region.at); err != nil {
		return nil, err
	}
	active, err := l.active()
	if err != nil {
		return nil, err
	}
	if len(active) == 0 && l.begun <= 1 {
		return file, nil // its writer crashed before it completed the first entry, so it changed nothing
	}
	if len(active) == 0 {
		return nil, fmt.Errorf("%w: its log must be replayed but has no valid entry", ErrDamaged)
	}
	head := active[len(active)-1]
	if head.before > uint64(file.Size()) {
		return nil, fmt.Errorf("%w: its log is for a file of %d bytes, and it has %d: it was truncated", ErrDamaged, head.before, file.Size())
	}
	if head.after > 1<<62 {
		return nil, fmt.Errorf("%w: its log is for a file of %d bytes", ErrDamaged, head.after)
	}
	p := &vhdxPatched{file: file, size: max(file.Size(), int64(head.after)), sectors: make(map[int64][]byte)}
	for _, e := range active {
		l.apply(e, p)
	}
	if len(p.zeros) > vhdxZerosMax {
		return nil, fmt.Errorf("%w: its log has more than %d runs of zeros: %s", ErrUnsupported, vhdxZerosMax, advice)
	}
	return p, nil
}

// active returns the active entries. Of all sequences of valid entries with consecutive numbers, that is the one with
// the highest number, starting at the tail that its last entry names.
func (l *vhdxLog) active() ([]vhdxEntry, error) {
	var best []vhdxEntry
	for at := 0; at < len(l.ring); {
		var seq []vhdxEntry
		head, walked := at, 0
		for {
			e, err := l.entry(head)
			if err != nil {
				return nil, err
			}
			if walked += e.len; e.len == 0 || walked > len(l.ring) || len(seq) > 0 && e.number != seq[len(seq)-1].number+1 {
				break
			}
			seq = append(seq, e)
			if head += e.len; head >= len(l.ring) {
				head -= len(l.ring)
			}
		}
		if len(seq) == 0 {
			at += vhdxLogSector
			continue
		}
		last := seq[len(seq)-1]
		if len(best) == 0 || last.number > best[len(best)-1].number {
			for i := range seq {
				if int64(seq[i].at) == last.tail {
					best = seq[i:]
					break
				}
			}
		}
		if head <= at { // the sequence wrapped around
			break
		}
		at = head
	}
	return best, nil
}

// part returns n bytes of the ring from an offset on. It copies them only if they wrap around.
func (l *vhdxLog) part(at, n int) []byte {
	if at+n <= len(l.ring) {
		return l.ring[at : at+n : at+n]
	}
	return append(l.ring[at:len(l.ring):len(l.ring)], l.ring[:at+n-len(l.ring)]...)
}

// entry returns the entry at a sector, with length 0 if there is no valid one.
func (l *vhdxLog) entry(at int) (vhdxEntry, error) {
	p := l.ring[at:][:vhdxLogSector]
	n := int64(binary.LittleEndian.Uint32(p[8:]))
	e := vhdxEntry{
		at: at, len: int(min(n, int64(len(l.ring)))),
		tail:   int64(binary.LittleEndian.Uint32(p[12:])),
		number: binary.LittleEndian.Uint64(p[16:]),
		before: binary.LittleEndian.Uint64(p[48:]), after: binary.LittleEndian.Uint64(p[56:]),
	}
	if string(p[:4]) != "loge" || vhdxGUID(p[32:48]) != l.guid {
		return vhdxEntry{}, nil
	}
	if l.begun++; e.number == 0 || n == 0 || n%vhdxLogSector != 0 || n > int64(len(l.ring)) {
		return vhdxEntry{}, nil
	}
	// Valid entries do not overlap, so the log is summed little more than once. A hostile log, with a long entry at
	// each sector, would take hours.
	if l.summed += n; l.summed > 8*int64(len(l.ring)) {
		return vhdxEntry{}, fmt.Errorf("%w: the entries of its log overlap", ErrDamaged)
	}
	p = l.part(at, e.len)
	sum := crc32.Update(crc32.Update(crc32.Update(0, vhdxCRC, p[:4]), vhdxCRC, make([]byte, 4)), vhdxCRC, p[8:])
	if sum != binary.LittleEndian.Uint32(p[4:]) || !vhdxConsistent(p, e.number) {
		return vhdxEntry{}, nil
	}
	return e, nil
}

// vhdxConsistent reports whether the descriptors and sectors of an entry are complete and have its number.
func vhdxConsistent(p []byte, number uint64) bool {
	count := int64(binary.LittleEndian.Uint32(p[24:]))
	data := (64 + 32*count + vhdxLogSector - 1) / vhdxLogSector * vhdxLogSector
	if data > int64(len(p)) {
		return false
	}
	sectors := p[data:]
	for i := range int(count) {
		d := p[64+32*i:][:32]
		if binary.LittleEndian.Uint64(d[24:]) != number || binary.LittleEndian.Uint64(d[16:])%vhdxLogSector != 0 {
			return false
		}
		switch string(d[:4]) {
		case "zero":
			if binary.LittleEndian.Uint64(d[8:])%vhdxLogSector != 0 {
				return false
			}
		case "desc":
			if len(sectors) < vhdxLogSector || string(sectors[:4]) != "data" ||
				binary.LittleEndian.Uint32(sectors[4:]) != uint32(number>>32) || binary.LittleEndian.Uint32(sectors[4092:]) != uint32(number) {
				return false
			}
			sectors = sectors[vhdxLogSector:]
		default:
			return false
		}
	}
	return true
}

// apply applies an entry. It restores the first and last bytes of each sector in place.
func (l *vhdxLog) apply(e vhdxEntry, to *vhdxPatched) {
	p := l.part(e.at, e.len)
	count := int(binary.LittleEndian.Uint32(p[24:]))
	sectors := p[(64+32*count+vhdxLogSector-1)/vhdxLogSector*vhdxLogSector:]
	for i := range count {
		d := p[64+32*i:][:32]
		off := binary.LittleEndian.Uint64(d[16:])
		if string(d[:4]) == "zero" {
			to.clear(off, binary.LittleEndian.Uint64(d[8:]))
			continue
		}
		sector := sectors[:vhdxLogSector]
		sectors = sectors[vhdxLogSector:]
		copy(sector, d[8:16])
		copy(sector[4092:], d[4:8])
		if off < uint64(to.size) { // the file was truncated there later
			to.sectors[int64(off)] = sector
		}
	}
}

// vhdxPatched is a file with some sectors replaced.
type vhdxPatched struct {
	file    image.Disk
	size    int64            // bytes, at least the file's; zeros past its end
	sectors map[int64][]byte // by offset
	zeros   []vhdxRegion     // where sectors has none
}

// clear makes n bytes at off zeros.
func (f *vhdxPatched) clear(off, n uint64) {
	if off >= uint64(f.size) || n == 0 || len(f.zeros) > vhdxZerosMax {
		return
	}
	r := vhdxRegion{int64(off), int64(min(n, uint64(f.size)-off))}
	for at := range f.sectors {
		if at >= r.at && at < r.at+r.len {
			delete(f.sectors, at)
		}
	}
	f.zeros = append(f.zeros, r)
}

func (f *vhdxPatched) Size() int64 { return f.size }

// Extents yields one data extent: a hole in the file may be replaced here.
func (f *vhdxPatched) Extents() iter.Seq2[image.Extent, error] {
	return func(yield func(image.Extent, error) bool) { yield(image.Extent{Len: f.size}, nil) }
}

func (f *vhdxPatched) ReadAt(p []byte, off int64) (int, error) {
	if off >= f.size {
		return 0, io.EOF
	}
	var end error
	if off >= 0 && int64(len(p)) > f.size-off {
		p, end = p[:f.size-off], io.EOF
	}
	n := 0
	if off < f.file.Size() {
		var err error
		if n, err = f.file.ReadAt(p, off); err != nil && err != io.EOF {
			return 0, err
		}
		if n < len(p) && off+int64(n) < f.file.Size() {
			return 0, io.ErrUnexpectedEOF
		}
	}
	clear(p[n:])
	last := off + int64(len(p))
	for _, z := range f.zeros {
		if from, to := max(off, z.at), min(last, z.at+z.len); from < to {
			clear(p[from-off : to-off])
		}
	}
	for at := off / vhdxLogSector * vhdxLogSector; at < last; at += vhdxLogSector {
		if sector, ok := f.sectors[at]; ok {
			from, to := max(off, at), min(last, at+vhdxLogSector)
			copy(p[from-off:to-off], sector[from-at:to-at])
		}
	}
	return len(p), end
}
