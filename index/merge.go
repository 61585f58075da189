package index

import (
	"context"
	"math"
	"slices"

	"platter/pack"
)

// Merge makes a new run of the old one and of all chunks that were added since and are more than claimed. Others may use
// the Index meanwhile. What packs are no longer listed had is left out. The new run replaces the one in the cache; where
// that cannot be, it goes to a temporary file or stays in memory.
//
// After Spill, what was added is found only when Merge has returned nil, and is lost when it returns an error.
func (x *Index) Merge(ctx context.Context, c *Cache) error {
	x.merging.Lock()
	defer x.merging.Unlock()
	for {
		s := x.takeStock()
		r, err := s.build(ctx, c)
		if err == nil && !x.swap(s, r) { // a pack that was left out is there again
			r.free()
			continue
		}
		if s.spill != nil {
			s.spill.close()
		}
		return err
	}
}

// stock is what goes into a run.
type stock struct {
	base   *run
	packs  []knownPack
	frames []frame // behind those of base
	files  map[pack.FileID]Source
	piles  [shardCount][]place
	spill  *spill

	frameCount, places int
	newPack            []uint32 // by old position; gonePack for one that is left out
	newFirst           []uint32 // first frame, by old position of the pack
	kept               uint32   // packs
	keptFrames         uint32
}

const gonePack = math.MaxUint32

func (x *Index) takeStock() *stock {
	x.adding.Lock() // or a pack's frames might be seen and its chunks not
	defer x.adding.Unlock()
	x.mu.Lock()
	defer x.mu.Unlock()
	s := &stock{base: x.base, packs: slices.Clone(x.packs), frames: x.frames[:len(x.frames):len(x.frames)], spill: x.spill,
		files: make(map[pack.FileID]Source, len(x.files)), frameCount: x.baseFrames() + len(x.frames)}
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

// renumber gives packs and frames their numbers in the new run: the old order, without packs that no index file lists.
func (s *stock) renumber() {
	s.newPack, s.newFirst = make([]uint32, len(s.packs)), make([]uint32, len(s.packs))
	for i := range s.packs {
		if !s.packs[i].listed {
			s.newPack[i] = gonePack
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

// newFrame returns a frame's number in the new run, false for one of a pack that is left out.
func (s *stock) newFrame(n uint32) (uint32, bool) {
	if int(s.kept) == len(s.packs) {
		return n, true
	}
	p := s.frame(n).pack
	return s.newFirst[p] + n - s.packs[p].first, s.newPack[p] != gonePack
}

// swap puts a run in the place of the old one, and takes what it has out of the shards. It reports false, and does
// nothing, when a pack that was left out has been listed since.
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
		case s.newPack[i] == gonePack && p.listed:
			return false
		case s.newPack[i] == gonePack:
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
			if src.packs[i] = newPack(at); src.packs[i] == gonePack {
				src.Counts, src.packs = false, nil
				break
			}
		}
	}
	old := x.base
	x.base, x.packs, x.frames, x.known = r, packs, frames, make(map[pack.FileID]uint32, len(packs))
	x.anyGone = false
	for i := range packs {
		x.known[packs[i].ID] = uint32(i)
		x.anyGone = x.anyGone || packs[i].lost()
	}
	if old != nil {
		old.free() // nobody looks anything up: mu is held
	}
	return true
}

// stays reports whether an entry is not in the new run, and gives its frame the number it has from then on.
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
