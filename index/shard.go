package index

import (
	"encoding/binary"
	"math"
	"sync"

	"platter/chunk"
)

// claimed is the frame of a chunk that somebody is about to store.
const claimed = math.MaxUint32

type entry struct {
	id                chunk.ID
	frame, start, len uint32
}

// A shard is an open-addressed hash table over a list of entries: slots hold positions in entries, plus one.
type shard struct {
	mu      sync.Mutex
	slots   []uint32 // a power of two of them, at most three in four taken
	entries []entry
	doubles []entry // where else chunks lie, or lay in a pack that is gone: for the next run, which has them all
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

// insert adds an entry whose id is not there yet.
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

// replace puts another entry in the place of one, which is remembered if it was more than a claim.
func (s *shard) replace(at int, e entry) {
	if s.entries[at].frame != claimed {
		s.doubles = append(s.doubles, s.entries[at])
	}
	s.entries[at] = e
}

// keep leaves only entries and doubles that pass, in memory of their own size.
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

// slotOf spreads ids over slots. Ids are keyed hashes, so their own bytes will do; the first chose the shard.
func slotOf(id chunk.ID) uint64 { return binary.LittleEndian.Uint64(id[1:]) }
