// Package index knows which chunk lies in which frame of which pack.
//
// Its promise: what Lookup returns was listed in some pack's table; what Claim grants, it grants once. Anything in it
// can be rebuilt from the packs.
package index

import (
	"encoding/binary"
	"math"
	"sync"
	"sync/atomic"

	"platter/chunk"
	"platter/pack"
)

// A Location is where a chunk lies.
type Location struct {
	Pack   pack.ID
	Offset int64      // of the frame in the pack, bytes
	Frame  pack.Frame // how it is sealed
	Start  uint32     // of the chunk in the frame's plaintext, bytes
	Len    uint32     // of the chunk, bytes
}

// A Pack is a pack file that the index knows.
type Pack struct {
	ID   pack.ID
	Size int64 // bytes of the file
	Gone bool  // the file is not there, or not as it was: what is in it is not relied on
}

// shardCount splits the index by the first byte of an id: ids are uniform, so shards fill evenly, workers seldom meet
// at one lock, and one shard's growth copies one part in 256.
const shardCount = 256

// An Index maps ids to locations. It is safe for concurrent use. The zero Index is empty and ready.
type Index struct {
	shards [shardCount]shard

	anyGone atomic.Bool // spares workers the lock below while every pack is there

	mu     sync.RWMutex
	packs  []Pack
	frames []frame
	known  map[pack.ID]bool
}

type frame struct {
	pack   uint32 // position in packs
	offset uint32 // a pack is smaller than 1 GiB
	pack.Frame
}

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

// slotOf spreads ids over slots. Ids are keyed hashes, so their own bytes will do; the first chose the shard.
func slotOf(id chunk.ID) uint64 { return binary.LittleEndian.Uint64(id[1:]) }

func (x *Index) shard(id chunk.ID) *shard { return &x.shards[id[0]] }

// Claim reports whether the caller is the one to store the chunk: nobody has, in a pack that is still there, and nobody
// else was told to.
func (x *Index) Claim(id chunk.ID) bool {
	s := x.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.find(id)
	switch {
	case at < 0:
		s.insert(entry{id: id, frame: claimed})
	case x.gone(s.entries[at].frame):
		s.entries[at].frame = claimed
	default:
		return false
	}
	return true
}

// gone reports whether a frame's pack is gone.
func (x *Index) gone(frame uint32) bool {
	if !x.anyGone.Load() || frame == claimed {
		return false
	}
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.packs[x.frames[frame].pack].Gone
}

// Lookup returns where a chunk lies, and false for one that is unknown or only claimed.
func (x *Index) Lookup(id chunk.ID) (Location, bool) {
	s := x.shard(id)
	s.mu.Lock()
	at := s.find(id)
	if at < 0 || s.entries[at].frame == claimed {
		s.mu.Unlock()
		return Location{}, false
	}
	found := s.entries[at]
	s.mu.Unlock()

	x.mu.RLock()
	defer x.mu.RUnlock()
	f := x.frames[found.frame]
	return Location{x.packs[f.pack].ID, int64(f.offset), f.Frame, found.start, found.len}, true
}

// AddPack takes in a pack's table. A pack that is known is passed over; a chunk that is known stays where it is, unless
// that pack is gone.
func (x *Index) AddPack(p Pack, table *pack.Table) {
	x.mu.Lock()
	if x.known[p.ID] {
		x.mu.Unlock()
		return
	}
	if x.known == nil {
		x.known = make(map[pack.ID]bool)
	}
	x.known[p.ID] = true
	first := len(x.frames)
	offset := uint32(pack.HeaderSize)
	for _, f := range table.Frames {
		x.frames = append(x.frames, frame{uint32(len(x.packs)), offset, f})
		offset += f.Sealed
	}
	x.packs = append(x.packs, p)
	x.mu.Unlock()
	if p.Gone {
		x.anyGone.Store(true)
	}

	refs := table.Chunks
	for i, f := range table.Frames {
		start := uint32(0)
		for _, ref := range refs[:f.Chunks] {
			x.add(entry{ref.ID, uint32(first + i), start, ref.Len})
			start += ref.Len
		}
		refs = refs[f.Chunks:]
	}
}

func (x *Index) add(e entry) {
	s := x.shard(e.id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if at := s.find(e.id); at < 0 {
		s.insert(e)
	} else if old := s.entries[at].frame; old == claimed || x.gone(old) {
		s.entries[at] = e
	}
}

// Packs returns every known pack, in the order they were added.
func (x *Index) Packs() []Pack {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return append([]Pack(nil), x.packs...)
}

// HasPack reports whether the pack is known.
func (x *Index) HasPack(id pack.ID) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.known[id]
}

// Len is how many chunks are known.
func (x *Index) Len() int {
	n := 0
	for i := range x.shards {
		s := &x.shards[i]
		s.mu.Lock()
		n += len(s.entries)
		s.mu.Unlock()
	}
	return n
}

// Values is a number for every chunk of an index that no longer grows, at four bytes a chunk. It is not safe for
// concurrent use.
type Values struct {
	index  *Index
	values [shardCount][]uint32
}

// Values returns a set of numbers, all zero.
func (x *Index) Values() *Values {
	v := &Values{index: x}
	for i := range x.shards {
		v.values[i] = make([]uint32, len(x.shards[i].entries))
	}
	return v
}

// At returns the number of a chunk and the chunk's length in bytes, nil for a chunk that was unknown.
func (v *Values) At(id chunk.ID) (*uint32, uint32) {
	s := v.index.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	at, values := s.find(id), v.values[id[0]]
	if at < 0 || at >= len(values) {
		return nil, 0
	}
	return &values[at], s.entries[at].len
}
