// Package index knows which chunk lies in which frame of which pack.
//
// Its promise: what Lookup returns was listed in some pack's table; what Claim grants, it grants once. Anything in it
// can be rebuilt from the packs.
//
// Most of it is one sorted run, which is mapped from a file and takes no heap; what is not in the run yet lies in hash
// tables, until Merge makes a new run of both. A run may come from a cache that another process wrote, and says nothing
// that the index files would not say.
package index

import (
	"sync"

	"platter/chunk"
	"platter/pack"
)

// A Location is where a chunk lies.
type Location struct {
	Pack   pack.FileID
	Offset int64      // of the frame in the pack, bytes
	Frame  pack.Frame // how it is sealed
	Start  uint32     // of the chunk in the frame's plaintext, bytes
	Len    uint32     // of the chunk, bytes
}

// A Pack is a pack file that the index knows.
type Pack struct {
	ID   pack.FileID
	Size int64 // bytes of the file
	Gone bool  // the file is not there, or not as it was: what is in it is not relied on
	// Doubted says that the file is there and is not to be built upon: it is damaged, or about to go.
	Doubted bool
}

// shardCount splits the index by the first byte of an id: ids are uniform, so shards fill evenly, workers seldom meet
// at one lock, and one shard's growth copies one part in 256.
const shardCount = 256

// An Index maps ids to locations. It is safe for concurrent use. The zero Index is empty and ready.
//
// Of every pack it has every chunk: where a chunk lies in several packs, the run has all of its places, and shards have
// one in entries and the others in doubles. So whichever packs turn out to be gone later, what is left is still found.
type Index struct {
	shards [shardCount]shard

	merging sync.Mutex   // one Merge at a time
	adding  sync.RWMutex // shared by those who add packs; a Merge takes stock while nobody does

	mu      sync.RWMutex
	base    *run // nil where there is none
	packs   []knownPack
	frames  []frame // behind those of base
	known   map[pack.FileID]uint32
	files   map[pack.FileID]*Source
	anyGone bool // spares looking up packs while every one is there
	spill   *spill
}

// A knownPack is a Pack and what else is known of it. Those of the base come first, in its order.
type knownPack struct {
	Pack
	first  uint32 // its first frame; its frames lie one behind the other
	listed bool   // an index file that is there lists it; without that, the index must not say a word of it
}

func (p *knownPack) lost() bool { return p.Gone || p.Doubted || !p.listed }

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

// lives reports whether a frame's pack is there; mu is held.
func (x *Index) lives(frame uint32) bool {
	if frame == claimed {
		return false
	}
	return !x.anyGone || !x.packs[x.frame(frame).pack].lost()
}

// stored returns where the run has a chunk: in a pack that is there and not doubted if it can, else in one that is there,
// else in one that is gone. mu is held.
func (x *Index) stored(id chunk.ID) (e entry, live, ok bool) {
	if x.base == nil {
		return entry{}, false, false
	}
	for at, end := x.base.find(id); at < end; at++ {
		next := x.base.record(at, id)
		if x.lives(next.frame) {
			return next, true, true
		}
		if p := &x.packs[x.frame(next.frame).pack]; p.listed && (!ok || !p.Gone) {
			e, ok = next, true
		}
	}
	return e, false, ok
}

// Claim reports whether the caller is the one to store the chunk: nobody has, in a pack that is still there, and nobody
// else was told to.
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

// Lookup returns where a chunk lies, and false for one that is unknown or only claimed.
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

// recent returns what the shards say of a chunk.
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

// AddPack takes in a pack's table. A pack that is known is passed over, unless it was gone and is there now; a chunk that
// is known stays where it is, unless that pack is gone.
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

// takePack notes a pack and its frames, and reports whether its chunks are to be added under frames from first on.
func (x *Index) takePack(p Pack, table *pack.Table) (first uint32, add bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if at, ok := x.known[p.ID]; ok {
		old := &x.packs[at]
		if old.listed && (p.Gone || !old.Gone) || !x.sameFrames(at, table) {
			return 0, false
		}
		p.Doubted = old.Doubted
		old.Pack, old.listed = p, true
		// The run has all its chunks, and so has the spill; of the shards' entries, those in packs that are gone move here.
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
	x.anyGone = x.anyGone || p.Gone
	return first, true
}

// sameFrames reports whether a table has the frames that the pack at a position is known to have.
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

// add takes in one place of a chunk; mu is held.
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

// Packs returns every known pack, in the order they were added.
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

// Recent is how many places of chunks are not in the run, claims among them.
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

// Stored is how many places of chunks the run has.
func (x *Index) Stored() int {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if x.base == nil {
		return 0
	}
	return x.base.recordCount
}
