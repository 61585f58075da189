package index

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"sync"

	"platter/chunk"
	"platter/pack"
)

// A run is a sorted list of chunks' places in one immutable byte slice, the same in a file and in memory.
//
//	+-------+--------+-------+-------+------------+---------+---------+- - - - - - - - - -+---------+------+
//	| packs | frames | files | links | superseded | records | buckets | sum of each 4 MiB | trailer | seal |
//	+-------+--------+-------+-------+------------+---------+---------+- - - - - - - - - -+---------+------+
//
//	pack        id 32, size u32, first frame u32
//	frame       pack u32, offset u32, sealed u32, raw u32, chunks u32, kind u8
//	file        id 32, links u32 (all bits set: its packs are not in the run), superseded u32: an index file in the run
//	link        pack u32: a pack that the file lists
//	superseded  id 32: an index file that the file supersedes
//	record      id 14, frame u32, start u24, length − 1 u24
//	buckets     65537 × u32: for each 16-bit prefix of an ID, its first record; last, the number of records
//	trailer     see trailer.appendTo
//
// Records are sorted by ID, then by frame. A record holds bytes 2 to 15 of the ID, and its bucket implies the first
// two: 128 bits. IDs are hashes under a secret key, so two chunks agree in those bits only by chance. With 2^24
// chunks in the run and 2^24 looked up, that happens in one of 2^80 repositories. Even then, readers verify all 256
// bits of the data.
//
// Integers are little-endian. Values are copied out of the bytes, because a mapping may end.
type run struct {
	data []byte
	free func() // frees the bytes; no reader may be using them

	packCount, frameCount, fileCount, recordCount            int
	packs, frames, files, links, superseded, records, bucket []byte
}

const (
	runPack    = 40
	runFrame   = 21
	runFile    = 40
	runLink    = 4
	recordSize = 24
	recordID   = 14
	prefixes   = 1 << 16
	bucketSize = 4 * (prefixes + 1)
)

// noLinks is the number of links of a file whose packs are not in the run.
const noLinks = math.MaxUint32

// fits reports whether a record can hold the entry. A frame has at most pack.MaxRaw bytes, and 24 bits cover all of
// them. An entry that does not fit stays out of runs.
func fits(e *entry) bool {
	return e.frame != claimed && e.start < 1<<24 && e.len-1 < 1<<24 // an empty chunk's length wraps around
}

// A place is an entry in the form that a run sorts: the first 16 bytes of the ID as two numbers.
type place struct {
	hi, lo            uint64
	frame, start, len uint32
}

func placeOf(e *entry) place {
	return place{binary.BigEndian.Uint64(e.id[:]), binary.BigEndian.Uint64(e.id[8:]), e.frame, e.start, e.len}
}

func (p *place) appendTo(dst []byte) []byte {
	dst = append(dst, byte(p.hi>>40), byte(p.hi>>32), byte(p.hi>>24), byte(p.hi>>16), byte(p.hi>>8), byte(p.hi))
	dst = binary.BigEndian.AppendUint64(dst, p.lo)
	dst = binary.LittleEndian.AppendUint32(dst, p.frame)
	n := p.len - 1
	return append(dst, byte(p.start), byte(p.start>>8), byte(p.start>>16), byte(n), byte(n>>8), byte(n>>16))
}

// place returns the record at position at, whose ID begins with prefix.
func (r *run) place(at int, prefix int) place {
	rec := r.records[at*recordSize:][:recordSize]
	p := place{hi: uint64(prefix)<<48 | binary.BigEndian.Uint64(rec)>>16, lo: binary.BigEndian.Uint64(rec[6:])}
	p.frame, p.start, p.len = decodeRecord(rec)
	return p
}

func decodeRecord(rec []byte) (frame, start, length uint32) {
	_ = rec[recordSize-1]
	return binary.LittleEndian.Uint32(rec[recordID:]), uint32(rec[18]) | uint32(rec[19])<<8 | uint32(rec[20])<<16,
		(uint32(rec[21]) | uint32(rec[22])<<8 | uint32(rec[23])<<16) + 1
}

// record returns the record at position at, as the entry of id.
func (r *run) record(at int, id chunk.ID) (e entry) {
	e.id = id
	e.frame, e.start, e.len = decodeRecord(r.records[at*recordSize:][:recordSize])
	return e
}

// find returns the range of records with an ID.
func (r *run) find(id chunk.ID) (from, end int) {
	prefix := int(id[0])<<8 | int(id[1])
	from, last := r.bucketAt(prefix), r.bucketAt(prefix+1)
	end = last
	want := binary.BigEndian.Uint64(id[2:])
	for from < end { // find the first record that is not less
		mid := int(uint(from+end) / 2)
		rec := r.records[mid*recordSize:]
		got := binary.BigEndian.Uint64(rec)
		if got < want || got == want && bytes.Compare(rec[8:recordID], id[10:16]) < 0 {
			from = mid + 1
		} else {
			end = mid
		}
	}
	for end < last && bytes.Equal(r.records[end*recordSize:][:recordID], id[2:16]) {
		end++
	}
	return from, end
}

func (r *run) bucketAt(n int) int { return int(binary.LittleEndian.Uint32(r.bucket[4*n:])) }

func (r *run) frame(n int) frame {
	p, le := r.frames[n*runFrame:], binary.LittleEndian
	return frame{
		le.Uint32(p), le.Uint32(p[4:]),
		pack.Frame{Sealed: le.Uint32(p[8:]), Raw: le.Uint32(p[12:]), Chunks: le.Uint32(p[16:]), Kind: chunk.Kind(p[20])},
	}
}

func (f *frame) appendTo(dst []byte) []byte {
	le := binary.LittleEndian
	dst = le.AppendUint32(le.AppendUint32(dst, f.pack), f.offset)
	dst = le.AppendUint32(le.AppendUint32(dst, f.Sealed), f.Raw)
	return append(le.AppendUint32(dst, f.Chunks), byte(f.Kind))
}

// known returns the run's packs. None is listed yet.
func (r *run) known() []knownPack {
	packs, le := make([]knownPack, r.packCount), binary.LittleEndian
	for i := range packs {
		p := r.packs[i*runPack:]
		packs[i] = knownPack{Pack: Pack{ID: pack.FileID(p[:idSize]), Size: int64(le.Uint32(p[idSize:]))}, first: le.Uint32(p[idSize+4:])}
	}
	return packs
}

// sources returns the index files that the run includes, and false if the counts disagree.
func (r *run) sources() (map[pack.FileID]*Source, bool) {
	out, le := make(map[pack.FileID]*Source, r.fileCount), binary.LittleEndian
	links, superseded := r.links, r.superseded
	for i := range r.fileCount {
		p := r.files[i*runFile:]
		src := &Source{}
		n, m := uint64(le.Uint32(p[idSize:])), uint64(le.Uint32(p[idSize+4:]))
		if src.Counts = n != noLinks; !src.Counts {
			n = 0
		}
		if n > uint64(len(links)/runLink) || m > uint64(len(superseded)/idSize) {
			return nil, false
		}
		for range n {
			at := le.Uint32(links)
			if uint64(at) >= uint64(r.packCount) {
				return nil, false
			}
			src.packs, links = append(src.packs, at), links[runLink:]
		}
		for range m {
			src.Supersedes, superseded = append(src.Supersedes, pack.FileID(superseded[:idSize])), superseded[idSize:]
		}
		out[pack.FileID(p[:idSize])] = src
	}
	return out, len(links) == 0 && len(superseded) == 0
}

// check verifies that every reference in the run is in bounds. The sums prove that the run is as it was written;
// check ensures that a fault of its writer cannot cause a panic.
func (r *run) check() error {
	last := 0
	for i := range prefixes + 1 {
		n := r.bucketAt(i)
		if n < last || n > r.recordCount {
			return fmt.Errorf("bucket %d begins at record %d", i, n)
		}
		last = n
	}
	if r.bucketAt(0) != 0 || last != r.recordCount {
		return fmt.Errorf("buckets end at record %d of %d", last, r.recordCount)
	}
	first := 0
	for i, p := range r.known() {
		if int64(p.first) < int64(first) || int64(p.first) > int64(r.frameCount) {
			return fmt.Errorf("pack %d begins at frame %d", i, p.first)
		}
		first = int(p.first)
	}
	for i := range r.frameCount {
		if f := r.frame(i); int64(f.pack) >= int64(r.packCount) {
			return fmt.Errorf("frame %d is in pack %d", i, f.pack)
		}
	}
	for i := range r.recordCount {
		if n := binary.LittleEndian.Uint32(r.records[i*recordSize+recordID:]); int64(n) >= int64(r.frameCount) {
			return fmt.Errorf("record %d is in frame %d", i, n)
		}
	}
	return nil
}

// release returns a function that calls free once.
func release(free func()) func() { return sync.OnceFunc(free) }
