// Package index maps each chunk to the packs and frames that hold it.
//
// Its promise: a location that Lookup returns comes from a pack's table, and Claim grants a chunk once. The whole
// index can be rebuilt from the packs.
//
// Most of an index is one sorted run, which is mapped from a file and uses no heap. Newer chunks are in hash tables
// until Merge makes a new run of both. The run may come from a cache that another process wrote. It contains nothing
// that the index files do not.
package index

import (
	"sync"

	"platter/chunk"
	"platter/pack"
)

// A Location is one place of a chunk.
type Location struct {
	Pack   pack.FileID
	Offset int64      // of the frame in the pack, bytes
	Frame  pack.Frame // how it is sealed
	Start  uint32     // of the chunk in the frame's plaintext, bytes
	Len    uint32     // of the chunk, bytes
}

// A Pack is a pack file that the index knows.
type Pack struct {
	ID      pack.FileID
	Size    int64 // bytes of the file
	Missing bool  // its file is missing or has another length, so its chunks are not relied on
	// Suspended means that the file exists but must not be built on: the pack is damaged or condemned.
	Suspended bool
}

// shardCount splits the index by the first byte of an ID. IDs are uniform, so shards fill evenly, workers rarely wait
// for the same lock, and a growing shard copies 1/256 of the entries.
const shardCount = 256

// An Index maps IDs to locations. It is safe for concurrent use. The zero Index is empty and ready to use.
//
// It holds every chunk of every pack. If several packs hold a chunk, the run has all of its places; shards have one
// of them in entries and the others in doubles. So a chunk is still found if some of its packs turn out to be missing
// later.
type Index struct {
	shards [shardCount]shard

	merging sync.Mutex   // one Merge at a time
	adding  sync.RWMutex // held for reading by each AddPack; Merge locks it while it collects what the run will hold

	mu          sync.RWMutex
	base        *run // nil if there is none
	packs       []knownPack
	frames      []frame // those after base's frames
	known       map[pack.FileID]uint32
	files       map[pack.FileID]*Source
	anyUnusable bool // false saves looking up packs while all of them are usable
	spill       *spill
}

// A knownPack is a Pack and its state. The packs of base come first, in its order.
type knownPack struct {
	Pack
	first  uint32 // its first frame; the others follow it
	listed bool   // an existing index file lists it; otherwise the index must act as if it did not know the pack
}

func (p *knownPack) unusable() bool { return p.Missing || p.Suspended || !p.listed }

type frame struct {
	pack   uint32 // position in packs
	offset uint32 // a pack is smaller than 1 GiB
	pack.Frame
}

func (x *Index) shard(id chunk.ID) *shard { return &x.shards[id[0]] }

func (x *Index) baseFrames() int {
	if x.base == nil {
		return 0
	}
	return x.base.frameCount
}

func (x *Index) frame(n uint32) frame {
	if b := x.baseFrames(); int(n) >= b {
		return x.frames[int(n)-b]
	}
	return x.base.frame(int(n))
}

// lives reports whether a frame's pack can be built on; mu is held.
func (x *Index) lives(frame uint32) bool {
	if frame == claimed {
		return false
	}
	return !x.anyUnusable || !x.packs[x.frame(frame).pack].unusable()
}

// stored returns the run's best place of a chunk: in a pack that can be built on (live), else in a suspended pack,
// else in a missing one. mu is held.
func (x *Index) stored(id chunk.ID) (e entry, live, ok bool) {
	if x.base == nil {
		return entry{}, false, false
	}
	for at, end := x.base.find(id); at < end; at++ {
		next := x.base.record(at, id)
		if x.lives(next.frame) {
			return next, true, true
		}
		if p := &x.packs[x.frame(next.frame).pack]; p.listed && (!ok || !p.Missing) {
			e, ok = next, true
		}
	}
	return e, false, ok
}

// Claim reports whether the caller must store the chunk: no pack that can be built on holds it, and nothing has
// claimed it yet.
func (x *Index) Claim(id chunk.ID) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	s := x.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.find(id)
	if at >= 0 && (s.entries[at].frame == claimed || x.lives(s.entries[at].frame)) {
		return false
	}
	if _, live, _ := x.stored(id); live {
		return false
	}
	if e := (entry{id: id, frame: claimed}); at < 0 {
		s.insert(e)
	} else {
		s.replace(at, e)
	}
	return true
}

// Lookup returns the place of a chunk, and false if the chunk is unknown or only claimed.
func (x *Index) Lookup(id chunk.ID) (Location, bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	e, ok := x.recent(id)
	if !ok || !x.lives(e.frame) {
		if old, live, there := x.stored(id); live || there && (!ok || x.absent(e.frame) && !x.absent(old.frame)) {
			e, ok = old, true
		}
	}
	if !ok || e.frame == claimed {
		return Location{}, false
	}
	f := x.frame(e.frame)
	return Location{x.packs[f.pack].ID, int64(f.offset), f.Frame, e.start, e.len}, true
}

// recent returns the shards' entry of a chunk.
func (x *Index) recent(id chunk.ID) (entry, bool) {
	s := x.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.find(id)
	if at < 0 {
		return entry{}, false
	}
	return s.entries[at], true
}

// AddPack adds a pack's table. It ignores a known pack, unless that was missing and no longer is. A known chunk keeps
// its place, unless that is in a missing pack.
func (x *Index) AddPack(p Pack, table *pack.Table) {
	x.adding.RLock()
	defer x.adding.RUnlock()
	first, isNew := x.takePack(p, table)
	if !isNew {
		return
	}
	x.mu.RLock()
	defer x.mu.RUnlock()
	refs := table.Chunks
	for i, f := range table.Frames {
		start := uint32(0)
		for _, ref := range refs[:f.Chunks] {
			x.add(entry{ref.ID, first + uint32(i), start, ref.Len})
			start += ref.Len
		}
		refs = refs[f.Chunks:]
	}
}

// takePack records a pack and its frames. If it reports true, the pack's chunks must be added, with frames numbered
// from first.
func (x *Index) takePack(p Pack, table *pack.Table) (first uint32, add bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if at, ok := x.known[p.ID]; ok {
		old := &x.packs[at]
		if old.listed && (p.Missing || !old.Missing) || !x.sameFrames(at, table) {
			return 0, false
		}
		p.Suspended = old.Suspended
		old.Pack, old.listed = p, true
		// The run and the spill already have all its chunks. Only entries of shards may have to move from missing
		// packs to this one.
		return old.first, int(old.first) >= x.baseFrames() && x.spill == nil
	}
	if x.known == nil {
		x.known = make(map[pack.FileID]uint32)
	}
	at, first := uint32(len(x.packs)), uint32(x.baseFrames()+len(x.frames))
	x.known[p.ID] = at
	offset := uint32(pack.HeaderSize)
	for _, f := range table.Frames {
		x.frames = append(x.frames, frame{at, offset, f})
		offset += f.Sealed
	}
	x.packs = append(x.packs, knownPack{p, first, true})
	x.anyUnusable = x.anyUnusable || p.Missing
	return first, true
}

// sameFrames reports whether table has the known frames of the pack at a position.
func (x *Index) sameFrames(at uint32, table *pack.Table) bool {
	first, end := x.packs[at].first, uint32(x.baseFrames()+len(x.frames))
	if int(at)+1 < len(x.packs) {
		end = x.packs[at+1].first
	}
	if int(end-first) != len(table.Frames) {
		return false
	}
	for i, f := range table.Frames {
		if x.frame(first+uint32(i)).Frame != f {
			return false
		}
	}
	return true
}

// add adds one place of a chunk; mu is held.
func (x *Index) add(e entry) {
	if x.spill != nil && fits(&e) {
		x.spill.add(&e)
		return
	}
	s := x.shard(e.id)
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.find(e.id)
	switch _, live, _ := x.stored(e.id); {
	case at < 0 && !live:
		s.insert(e)
	case at >= 0 && !x.lives(s.entries[at].frame):
		s.replace(at, e)
	default:
		s.doubles = append(s.doubles, e)
	}
}

// Packs returns all known packs, in the order in which they were added.
func (x *Index) Packs() []Pack {
	x.mu.RLock()
	defer x.mu.RUnlock()
	var packs []Pack
	for i := range x.packs {
		if x.packs[i].listed {
			packs = append(packs, x.packs[i].Pack)
		}
	}
	return packs
}

// HasPack reports whether the pack is known.
func (x *Index) HasPack(id pack.FileID) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	at, ok := x.known[id]
	return ok && x.packs[at].listed
}

// Recent returns the number of places of chunks that are not in the run, including claims.
func (x *Index) Recent() int {
	n := 0
	for i := range x.shards {
		s := &x.shards[i]
		s.mu.Lock()
		n += len(s.entries) + len(s.doubles)
		s.mu.Unlock()
	}
	return n
}

// Stored returns the number of places of chunks in the run.
func (x *Index) Stored() int {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if x.base == nil {
		return 0
	}
	return x.base.recordCount
}
