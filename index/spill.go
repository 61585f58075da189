package index

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"sync"
)

// A spill collects places of chunks for a run when there are more than memory should hold. It keeps them in piles by
// the first byte of the ID; each pile is small enough to be sorted in memory. Places that cannot be written stay in
// memory.
type spill struct {
	file  *os.File // nil if there is none; unlinked now, or when it is closed
	piles [shardCount]pile

	mu   sync.Mutex
	next int64 // offset of the next block
}

type pile struct {
	mu     sync.Mutex
	buf    []byte
	blocks []int64 // offsets of full blocks in the file
	kept   []byte  // full blocks that could not be written
	count  int
}

const (
	spillSize  = 16 + 4 + 3 + 3   // bytes of a place
	spillBlock = spillSize * 1260 // about 32 KiB: with 256 piles, 8 MiB in memory
)

func newSpill(folder string) *spill {
	file, err := tempFile(folder, "spill")
	if err != nil {
		file = nil // use memory instead
	}
	return &spill{file: file}
}

func (s *spill) add(e *entry) {
	p := &s.piles[e.id[0]]
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.buf == nil {
		p.buf = make([]byte, 0, spillBlock)
	}
	n := e.len - 1
	p.buf = append(p.buf, e.id[:16]...)
	p.buf = binary.LittleEndian.AppendUint32(p.buf, e.frame)
	p.buf = append(p.buf, byte(e.start), byte(e.start>>8), byte(e.start>>16), byte(n), byte(n>>8), byte(n>>16))
	p.count++
	if len(p.buf) < spillBlock {
		return
	}
	if off, ok := s.write(p.buf); ok {
		p.blocks = append(p.blocks, off)
	} else {
		p.kept = append(p.kept, p.buf...)
	}
	p.buf = p.buf[:0]
}

// write writes a block to the file and reports whether it succeeded.
func (s *spill) write(block []byte) (off int64, ok bool) {
	if s.file == nil {
		return 0, false
	}
	s.mu.Lock()
	off = s.next
	s.next += int64(len(block))
	s.mu.Unlock()
	_, err := s.file.WriteAt(block, off)
	return off, err == nil
}

// pile returns the places of a pile, in no order. It may be called again.
func (s *spill) pile(n int) ([]place, error) {
	p := &s.piles[n]
	places := make([]place, 0, p.count)
	block := make([]byte, spillBlock)
	for _, off := range p.blocks {
		if _, err := s.file.ReadAt(block, off); err != nil {
			return nil, fmt.Errorf("read spilled index entries: %w", err)
		}
		places = appendSpilled(places, block)
	}
	places = appendSpilled(appendSpilled(places, p.kept), p.buf)
	return places, nil
}

func appendSpilled(places []place, data []byte) []place {
	for ; len(data) >= spillSize; data = data[spillSize:] {
		rec := data[:spillSize]
		places = append(places, place{
			hi: binary.BigEndian.Uint64(rec), lo: binary.BigEndian.Uint64(rec[8:]), frame: binary.LittleEndian.Uint32(rec[16:]),
			start: uint32(rec[20]) | uint32(rec[21])<<8 | uint32(rec[22])<<16,
			len:   (uint32(rec[23]) | uint32(rec[24])<<8 | uint32(rec[25])<<16) + 1,
		})
	}
	return places
}

// sortPlaces sorts the places of one pile, perhaps into new memory. IDs are uniform, so a counting sort by their
// second and third bytes leaves few to compare.
func sortPlaces(places []place) []place {
	if len(places) < 4096 {
		slices.SortFunc(places, comparePlaces)
		return places
	}
	key := func(p *place) uint16 { return uint16(p.hi >> 40) }
	ends := make([]int32, prefixes)
	for i := range places {
		ends[key(&places[i])]++
	}
	for i, sum := 0, int32(0); i < len(ends); i++ {
		ends[i], sum = sum, sum+ends[i]
	}
	dealt := make([]place, len(places))
	for i := range places {
		k := key(&places[i])
		dealt[ends[k]] = places[i]
		ends[k]++
	}
	from := int32(0)
	for _, end := range ends {
		if end-from > 1 {
			slices.SortFunc(dealt[from:end], comparePlaces)
		}
		from = end
	}
	return dealt
}

func comparePlaces(a, b place) int {
	if a.hi != b.hi {
		return cmp.Compare(a.hi, b.hi)
	}
	return cmp.Or(cmp.Compare(a.lo, b.lo), cmp.Compare(a.frame, b.frame), cmp.Compare(a.start, b.start))
}

func (s *spill) close() {
	if s.file != nil {
		discard(s.file)
	}
}
