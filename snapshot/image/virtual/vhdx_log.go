package virtual

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"iter"

	"platter/snapshot/image"
)

// The log is a ring of sectors of 4 KiB. Whoever changes a VHDX writes there first what becomes of its tables, so a file
// whose writer crashed is only right once its log is replayed. An entry begins on a sector and may go on at the beginning:
//
//	 0  "loge"                    4  checksum u32 of the whole entry   8  length u32
//	12  tail u32: where in the log the oldest entry is that counts    16  number u64, counting up
//	24  count of descriptors u32, 4 bytes                             32  log GUID
//	48  length that the file had at least u64                         56  length that it has at least afterwards u64
//	64  descriptors, 32 bytes each, filled up to a sector
//	    then for each descriptor of data a sector
//
//	desc  "desc" ‖ last 4 bytes of the sector ‖ its first 8 ‖ offset in the file u64 ‖ number u64
//	zero  "zero" ‖ 4 bytes ‖ length of zeros u64 ‖ offset in the file u64 ‖ number u64
//	data  "data" ‖ upper half of the number u32 ‖ 4084 bytes, those between the other two ‖ lower half u32
const (
	vhdxLogSector = 4096

	// vhdxLogMax is the longest log that is replayed here, in bytes: it is held in memory. All that is known to write
	// logs makes them 1 MiB long.
	vhdxLogMax = 64 << 20
	// vhdxZerosMax is how many runs of zeros a log may have: each is looked at whenever something is read.
	vhdxZerosMax = 1024
)

// A vhdxLog is a log in memory.
type vhdxLog struct {
	ring   []byte
	guid   vhdxGUID
	begun  int   // entries that were seen, whole or not
	summed int64 // bytes that went through the checksum so far
}

// A vhdxEntry is an entry of a log.
type vhdxEntry struct {
	at, len       int
	tail          int64
	number        uint64
	before, after uint64 // lengths of the file
}

// vhdxReplay returns the file as it is once its log is replayed. The file stays as it is.
func vhdxReplay(file image.Disk, region vhdxRegion, guid vhdxGUID) (image.Disk, error) {
	const advice = "let a program replay it that may change the file: qemu-img check -r all, or attach it once in Hyper-V"
	if region.len > vhdxLogMax {
		return nil, fmt.Errorf("%w: there is something left to do in its log of %d MiB: %s", ErrUnsupported, region.len/vhdxMiB, advice)
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
		return file, nil // its writer crashed before the first entry was whole, so nothing was done that it speaks of
	}
	if len(active) == 0 {
		return nil, fmt.Errorf("%w: its log has to be replayed, and no entry of it is whole", ErrDamaged)
	}
	head := active[len(active)-1]
	if head.before > uint64(file.Size()) {
		return nil, fmt.Errorf("%w: its log speaks of a file of %d bytes, and it has %d: it was cut short", ErrDamaged, head.before, file.Size())
	}
	if head.after > 1<<62 {
		return nil, fmt.Errorf("%w: its log speaks of a file of %d bytes", ErrDamaged, head.after)
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

// active returns the entries that count: of all sequences of whole entries with numbers that follow each other, the one
// with the highest, from the tail that its last entry names.
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
		if head <= at { // it went over the end
			break
		}
		at = head
	}
	return best, nil
}

// part returns n bytes of the ring from a sector on: its own memory, unless they go over its end.
func (l *vhdxLog) part(at, n int) []byte {
	if at+n <= len(l.ring) {
		return l.ring[at : at+n : at+n]
	}
	return append(l.ring[at:len(l.ring):len(l.ring)], l.ring[:at+n-len(l.ring)]...)
}

// entry returns the entry at a sector; of no length where there is none that is whole.
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
	// Whole entries do not overlap, so a log is summed up little more than once. One made so that each sector begins
	// another long entry would take hours.
	if l.summed += n; l.summed > 8*int64(len(l.ring)) {
		return vhdxEntry{}, fmt.Errorf("%w: the entries of its log lie over each other", ErrDamaged)
	}
	p = l.part(at, e.len)
	sum := crc32.Update(crc32.Update(crc32.Update(0, vhdxCRC, p[:4]), vhdxCRC, make([]byte, 4)), vhdxCRC, p[8:])
	if sum != binary.LittleEndian.Uint32(p[4:]) || !vhdxConsistent(p, e.number) {
		return vhdxEntry{}, nil
	}
	return e, nil
}

// vhdxConsistent reports whether the descriptors and the sectors of an entry are all there and have its number.
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

// apply does what an entry says. The sectors stay where they are in memory and get their own first and last bytes back.
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
		if off < uint64(to.size) { // what is past the end was cut off again since
			to.sectors[int64(off)] = sector
		}
	}
}

// vhdxPatched is a file with sectors that are not as they are in it.
type vhdxPatched struct {
	file    image.Disk
	size    int64            // bytes, not less than the file's; what is past its end is zeros
	sectors map[int64][]byte // by their offset
	zeros   []vhdxRegion     // where there is none of sectors
}

// clear makes zeros of n bytes at off.
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

// Extents is one extent: what is a hole in the file may be none in here.
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
