package index

import (
	"platter/chunk"
	"platter/pack"
)

// Suspend makes the index stop building on packs. Claim grants their chunks again, unless another pack holds them.
// Lookup returns places in these packs only if there is no other.
func (x *Index) Suspend(packs []pack.FileID) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, id := range packs {
		if at, ok := x.known[id]; ok {
			x.packs[at].Suspended, x.anyUnusable = true, true
		}
	}
	x.prefer()
}

// Places returns all places of a chunk, except those in missing packs.
func (x *Index) Places(id chunk.ID) (places []Location) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	s := x.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := map[Location]bool{}
	add := func(e entry) {
		if e.frame == claimed {
			return
		}
		f := x.frame(e.frame)
		p := &x.packs[f.pack]
		at := Location{p.ID, int64(f.offset), f.Frame, e.start, e.len}
		if p.listed && !p.Missing && !seen[at] {
			seen[at] = true
			places = append(places, at)
		}
	}
	if at := s.find(id); at >= 0 {
		add(s.entries[at])
	}
	for _, e := range s.doubles {
		if e.id == id {
			add(e)
		}
	}
	if x.base != nil {
		for at, end := x.base.find(id); at < end; at++ {
			add(x.base.record(at, id))
		}
	}
	return places
}

// absent reports whether a frame has no existing file; mu is held.
func (x *Index) absent(frame uint32) bool {
	return frame == claimed || x.packs[x.frame(frame).pack].Missing
}

// Elsewhere reports whether a pack that can be built on, and for which not returns false, holds the chunk.
func (x *Index) Elsewhere(id chunk.ID, not func(pack.FileID) bool) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	other := func(frame uint32) bool {
		return x.lives(frame) && !not(x.packs[x.frame(frame).pack].ID)
	}
	s := x.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if at := s.find(id); at >= 0 && other(s.entries[at].frame) {
		return true
	}
	for i := range s.doubles {
		if s.doubles[i].id == id && other(s.doubles[i].frame) {
			return true
		}
	}
	if x.base == nil {
		return false
	}
	for at, end := x.base.find(id); at < end; at++ {
		if other(x.base.record(at, id).frame) {
			return true
		}
	}
	return false
}
