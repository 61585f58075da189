package index

import (
	"encoding/binary"
	"math"
	"sync"

	"platter/chunk"
)

// claimed is the frame of a chunk that a caller is about to store.
const claimed = math.MaxUint32

type entry struct {
	id                chunk.ID
	frame, start, len uint32
}

// A shard is an open-addressed hash table over a list of entries. A slot holds a position in entries plus one.
type shard struct {
	mu      sync.Mutex
	slots   []uint32 // their number is a power of two; at most 3/4 are used
	entries []entry
	doubles []entry // other places of chunks, also in missing packs; the next run gets them all
}

// find returns the position of id in entries, or -1.
func (s *shard) find(id chunk.ID) int {
	if len(s.slots) == 0 {
		return -1
	}
	mask := uint64(len(s.slots) - 1)
	for i := slotOf(id) & mask; s.slots[i] != 0; i = (i + 1) & mask {
		if at := int(s.slots[i] - 1); s.entries[at].id == id {
			return at
		}
	}
	return -1
}

// insert adds an entry whose ID is not in the shard yet.
func (s *shard) insert(e entry) {
	if 4*(len(s.entries)+1) > 3*len(s.slots) {
		s.slots = make([]uint32, max(16, 2*len(s.slots)))
		for i := range s.entries {
			s.place(i)
		}
	}
	s.entries = append(s.entries, e)
	s.place(len(s.entries) - 1)
}

func (s *shard) place(position int) {
	mask := uint64(len(s.slots) - 1)
	i := slotOf(s.entries[position].id) & mask
	for s.slots[i] != 0 {
		i = (i + 1) & mask
	}
	s.slots[i] = uint32(position + 1)
}

// replace replaces the entry at a position, and keeps the old one in doubles unless it was only a claim.
func (s *shard) replace(at int, e entry) {
	if s.entries[at].frame != claimed {
		s.doubles = append(s.doubles, s.entries[at])
	}
	s.entries[at] = e
}

// keep removes the entries and doubles that do not pass, and shrinks memory to fit.
func (s *shard) keep(pass func(*entry) bool) {
	old, doubles := s.entries, s.doubles
	s.slots, s.entries, s.doubles = nil, nil, nil
	for i := range old {
		if pass(&old[i]) {
			s.insert(old[i])
		}
	}
	for i := range doubles {
		if pass(&doubles[i]) {
			s.doubles = append(s.doubles, doubles[i])
		}
	}
}

// slotOf spreads IDs over slots. IDs are keyed hashes, so their own bytes suffice; the first byte chose the shard.
func slotOf(id chunk.ID) uint64 { return binary.LittleEndian.Uint64(id[1:]) }
