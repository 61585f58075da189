package repo

import (
	"bytes"
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"

	"platter/chunk"
	"platter/index"
	"platter/pack"
	"platter/repo/layout"
)

// A use is what is still needed of a pack.
type use struct {
	id        pack.FileID
	size      int64 // bytes of the file
	missing   bool  // the file is not there
	unlisted  bool  // it is there after all, though the listing that the index was loaded with did not show it
	orphan    bool  // no index file lists it
	raw, live int64 // bytes of its chunks, and of those that have to stay in it
	sole      int64 // bytes of needed chunks that lie in no other pack
	idle      int64 // bytes of chunks that nobody needs
}

// dead reports whether nobody would miss the pack.
func (u *use) dead() bool { return u.live == 0 }

// unused is how many bytes of the file nobody needs, about: as if all chunks compressed alike.
func (u *use) unused() int64 {
	if u.raw == 0 {
		return u.size
	}
	return int64(float64(u.size) * (1 - float64(u.live)/float64(u.raw)))
}

// A scan is what is needed of every pack, as marks and an index have it.
type scan struct {
	index *index.Index
	marks *Marks

	mu     sync.Mutex
	packs  map[pack.FileID]*use
	listed map[pack.FileID]bool // by index files that came after the index was loaded
	// twice are needed chunks that lie in several packs that are there: one of them has to keep each.
	twice map[chunk.ID][]*use
	lens  map[chunk.ID]uint32
}

// scanPacks goes through the tables of all packs that index files list.
func (r *Repo) scanPacks(ctx context.Context, marks *Marks) (*scan, error) {
	s := &scan{index: r.view().index, marks: marks, packs: map[pack.FileID]*use{}, listed: map[pack.FileID]bool{}, twice: map[chunk.ID][]*use{}, lens: map[chunk.ID]uint32{}}
	known := map[pack.FileID]index.Pack{}
	for _, p := range r.view().index.Packs() {
		known[p.ID] = p
	}
	files, err := r.countingIndexes(ctx)
	if err != nil {
		return nil, err
	}
	err = r.eachIndex(ctx, files, func(_ pack.FileID, f *index.File) error {
		for _, t := range f.Packs {
			if p, ok := known[t.ID]; ok {
				s.take(p, t.Table)
			} else { // it came after the index was loaded, and is nobody's to delete
				s.late(t.ID)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if err := r.lookForGone(ctx, s); err != nil {
		return nil, err
	}
	for _, o := range r.view().orphaned {
		// What index files that were lost listed may be needed.
		if u := (&use{id: o.ID, size: o.Size, orphan: true, live: o.Size, raw: o.Size}); len(marks.missing) == 0 && !s.listed[o.ID] {
			u.live = 0
			s.packs[o.ID] = u
		}
	}
	s.share()
	if len(marks.unsure) > 0 { // it may need anything
		for _, u := range s.packs {
			if !u.missing {
				u.raw, u.live = u.size, u.size
			}
		}
	}
	return s, nil
}

// lookForGone looks for packs that were in no listing, or had another length there: one that was put since, or was cut off,
// is a file like any other.
func (r *Repo) lookForGone(ctx context.Context, s *scan) error {
	for id, u := range s.packs {
		if !u.missing {
			continue
		}
		_, err := r.view().store.Get(ctx, layout.PackName(id), 0, 1)
		if err != nil && !layout.IsMissing(err) {
			return err
		}
		u.missing, u.unlisted = err != nil, err == nil
	}
	return nil
}

// countingIndexes returns the index files of which none stands in for another.
func (r *Repo) countingIndexes(ctx context.Context) ([]layout.File, error) {
	files, err := layout.ListNow(ctx, r.view().store, layout.Index)
	if err != nil {
		return nil, err
	}
	superseded, err := r.supersededNow(ctx, files)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(files, func(f layout.File) bool { return superseded[f.ID] }), nil
}

// late notes that an index file lists a pack that was in none when the index was loaded.
func (s *scan) late(id pack.FileID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listed[id] = true
}

// take counts what is needed of one pack.
func (s *scan) take(p index.Pack, table *pack.Table) {
	u := &use{id: p.ID, size: p.Size, missing: p.Missing}
	s.mu.Lock()
	if s.packs[p.ID] != nil {
		s.mu.Unlock()
		return
	}
	s.packs[p.ID] = u
	s.mu.Unlock()
	own := func(id pack.FileID) bool { return id == p.ID }
	var twice []pack.Ref
	for _, ref := range table.Chunks {
		u.raw += int64(ref.Len)
		switch {
		case !s.marks.needs(ref.ID):
			u.idle += int64(ref.Len)
		case !s.index.Elsewhere(ref.ID, own):
			u.sole += int64(ref.Len)
		case !p.Missing && !p.Suspended:
			twice = append(twice, ref)
		}
	}
	u.live = u.sole
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, ref := range twice {
		s.twice[ref.ID], s.lens[ref.ID] = append(s.twice[ref.ID], u), ref.Len
	}
}

// share says which pack keeps a chunk that several have: the one with most that only it has, which will stay anyway.
func (s *scan) share() {
	for id, packs := range s.twice {
		keeper := slices.MinFunc(packs, func(a, b *use) int {
			return cmp.Or(cmp.Compare(b.sole, a.sole), bytes.Compare(a.id[:], b.id[:]))
		})
		keeper.live += int64(s.lens[id])
	}
	s.twice, s.lens = nil, nil
}

// dead returns the packs of which nothing is needed, those that are gone among them.
func (s *scan) dead() (dead map[pack.FileID]*use) {
	dead = maps.Clone(s.packs)
	maps.DeleteFunc(dead, func(_ pack.FileID, u *use) bool { return !u.dead() })
	return dead
}

// manySmallPacks is from how many on small packs are put together: every backup leaves one at least.
const manySmallPacks = 16

// worthRepacking returns the packs whose needed chunks are worth copying, so that they can go: the emptiest first, until no
// more than a share of all packs is unused, and no more than limit bytes are copied; and small ones, where there are many.
func (s *scan) worthRepacking(maxUnused float64, limit, small int64, skip func(*use) bool) (chosen []*use) {
	var all, unused int64
	var some, tiny []*use
	for _, u := range s.packs {
		if u.dead() || u.missing || u.orphan {
			continue
		}
		all, unused = all+u.size, unused+u.unused()
		switch {
		case skip(u):
		case u.size < small:
			tiny = append(tiny, u)
		case u.unused() > 0:
			some = append(some, u)
		}
	}
	emptiest := func(a, b *use) int {
		return cmp.Or(cmp.Compare(float64(b.unused())/float64(b.size), float64(a.unused())/float64(a.size)), bytes.Compare(a.id[:], b.id[:]))
	}
	if len(tiny) >= manySmallPacks {
		slices.SortFunc(tiny, emptiest)
		some = append(tiny, some...)
	} else {
		some = append(some, slices.DeleteFunc(tiny, func(u *use) bool { return u.unused() == 0 })...)
		tiny = nil
	}
	slices.SortFunc(some[len(tiny):], emptiest)
	for i, u := range some {
		rest := u.size - u.unused()
		if i >= len(tiny) && float64(unused) <= maxUnused*float64(all) || rest > limit {
			continue
		}
		chosen, limit = append(chosen, u), limit-rest
		all, unused = all-u.unused(), unused-u.unused()
	}
	return chosen
}
