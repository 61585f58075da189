package index

import (
	"context"
	"math"
	"slices"

	"platter/pack"
)

// Merge makes a new run of the old run and of all chunks added since, except claims. The Index stays usable
// meanwhile. The new run leaves out packs that no index file lists. It replaces the run in the cache; if that fails,
// it goes to a temporary file or stays in memory.
//
// After Spill, Lookup finds the spilled chunks only after Merge returns nil. If Merge returns an error, they are
// lost.
func (x *Index) Merge(ctx context.Context, c *Cache) error {
	x.merging.Lock()
	defer x.merging.Unlock()
	for {
		s := x.takeStock()
		r, err := s.build(ctx, c)
		if err == nil && !x.swap(s, r) { // a pack that the run leaves out is listed again
			r.free()
			continue
		}
		if s.spill != nil {
			s.spill.close()
		}
		return err
	}
}

// stock is the input of a new run.
type stock struct {
	base   *run
	packs  []knownPack
	frames []frame // those after base's frames
	files  map[pack.FileID]Source
	piles  [shardCount][]place
	spill  *spill

	frameCount, places int
	newPack            []uint32 // by old position; noPack for a pack that is left out
	newFirst           []uint32 // first frame, by old position of the pack
	kept               uint32   // packs
	keptFrames         uint32
}

const noPack = math.MaxUint32

func (x *Index) takeStock() *stock {
	x.adding.Lock() // otherwise it might see a pack's frames without its chunks
	defer x.adding.Unlock()
	x.mu.Lock()
	defer x.mu.Unlock()
	s := &stock{
		base: x.base, packs: slices.Clone(x.packs), frames: x.frames[:len(x.frames):len(x.frames)], spill: x.spill,
		files: make(map[pack.FileID]Source, len(x.files)), frameCount: x.baseFrames() + len(x.frames),
	}
	x.spill = nil
	for id, src := range x.files {
		s.files[id] = *src
	}
	for i := range x.shards {
		for _, list := range [][]entry{x.shards[i].entries, x.shards[i].doubles} {
			for j := range list {
				if fits(&list[j]) {
					s.piles[i] = append(s.piles[i], placeOf(&list[j]))
				}
			}
		}
		s.places += len(s.piles[i])
		if s.spill != nil {
			s.places += s.spill.piles[i].count
		}
	}
	if s.base != nil {
		s.places += s.base.recordCount
	}
	s.renumber()
	return s
}

// renumber numbers packs and frames for the new run: in the old order, without packs that no index file lists.
func (s *stock) renumber() {
	s.newPack, s.newFirst = make([]uint32, len(s.packs)), make([]uint32, len(s.packs))
	for i := range s.packs {
		if !s.packs[i].listed {
			s.newPack[i] = noPack
			continue
		}
		s.newPack[i], s.newFirst[i] = s.kept, s.keptFrames
		s.kept++
		s.keptFrames += s.endOf(i) - s.packs[i].first
	}
}

func (s *stock) endOf(at int) uint32 {
	if at+1 < len(s.packs) {
		return s.packs[at+1].first
	}
	return uint32(s.frameCount)
}

func (s *stock) frame(n uint32) frame {
	if s.base == nil {
		return s.frames[n]
	}
	if int(n) >= s.base.frameCount {
		return s.frames[int(n)-s.base.frameCount]
	}
	return s.base.frame(int(n))
}

// newFrame returns a frame's number in the new run, and false if its pack is left out.
func (s *stock) newFrame(n uint32) (uint32, bool) {
	if int(s.kept) == len(s.packs) {
		return n, true
	}
	p := s.frame(n).pack
	return s.newFirst[p] + n - s.packs[p].first, s.newPack[p] != noPack
}

// swap replaces the old run and drops its content from the shards. If a pack that was left out has been listed since,
// swap does nothing and returns false.
func (x *Index) swap(s *stock, r *run) bool {
	x.adding.Lock()
	defer x.adding.Unlock()
	x.mu.Lock()
	defer x.mu.Unlock()
	var packs []knownPack
	for i, p := range x.packs {
		switch {
		case i >= len(s.packs):
			p.first = p.first - uint32(s.frameCount) + s.keptFrames
		case s.newPack[i] == noPack && p.listed:
			return false
		case s.newPack[i] == noPack:
			continue
		default:
			p.first = s.newFirst[i]
		}
		packs = append(packs, p)
	}
	newPack := func(at uint32) uint32 {
		if int(at) < len(s.packs) {
			return s.newPack[at]
		}
		return at - uint32(len(s.packs)) + s.kept
	}
	frames := slices.Clone(x.frames[len(s.frames):])
	for i := range frames {
		frames[i].pack = newPack(frames[i].pack)
	}
	for i := range x.shards {
		x.shards[i].keep(func(e *entry) bool { return s.stays(e) })
	}
	for _, src := range x.files {
		for i, at := range src.packs {
			if src.packs[i] = newPack(at); src.packs[i] == noPack {
				src.Counts, src.packs = false, nil
				break
			}
		}
	}
	old := x.base
	x.base, x.packs, x.frames, x.known = r, packs, frames, make(map[pack.FileID]uint32, len(packs))
	x.anyUnusable = false
	for i := range packs {
		x.known[packs[i].ID] = uint32(i)
		x.anyUnusable = x.anyUnusable || packs[i].unusable()
	}
	if old != nil {
		old.free() // no lookup reads it: mu is held
	}
	return true
}

// stays reports whether an entry is not in the new run, and updates its frame number.
func (s *stock) stays(e *entry) bool {
	switch {
	case e.frame == claimed:
		return true
	case int(e.frame) >= s.frameCount:
		e.frame = e.frame - uint32(s.frameCount) + s.keptFrames
		return true
	case fits(e):
		return false
	}
	n, ok := s.newFrame(e.frame)
	e.frame = n
	return ok
}
