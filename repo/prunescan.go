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

// A use says how much of a pack is still needed.
type use struct {
	id        pack.FileID
	size      int64 // bytes of the file
	missing   bool  // the file is missing
	unlisted  bool  // the file exists, although the listing at the time of loading the index did not show it
	orphan    bool  // no index file lists it
	raw, live int64 // bytes of its chunks, and of those that must stay in it
	sole      int64 // bytes of needed chunks that no other pack holds
	idle      int64 // bytes of chunks that no snapshot needs
}

// dead reports whether no snapshot needs the pack.
func (u *use) dead() bool { return u.live == 0 }

// unused returns the approximate bytes of the file that no snapshot needs. It assumes that all chunks compress alike.
func (u *use) unused() int64 {
	if u.raw == 0 {
		return u.size
	}
	return int64(float64(u.size) * (1 - float64(u.live)/float64(u.raw)))
}

// A scan is the use of every pack, according to marks and an index.
type scan struct {
	index *index.Index
	marks *Marks

	mu     sync.Mutex
	packs  map[pack.FileID]*use
	listed map[pack.FileID]bool // in index files that were put after the index was loaded
	// twice are needed chunks that several existing packs hold. One of the packs must keep each.
	twice map[chunk.ID][]*use
	lens  map[chunk.ID]uint32
}

// scanPacks reads the tables of all packs that index files list.
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
			} else { // it was put after the index was loaded, so this prune may not delete it
				s.late(t.ID)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if err := r.lookForMissing(ctx, s); err != nil {
		return nil, err
	}
	for _, o := range r.view().orphaned {
		// An orphaned pack may hold chunks that a missing index file listed. So it stays while needed chunks are missing.
		if u := (&use{id: o.ID, size: o.Size, orphan: true, live: o.Size, raw: o.Size}); len(marks.missing) == 0 && !s.listed[o.ID] {
			u.live = 0
			s.packs[o.ID] = u
		}
	}
	s.share()
	if len(marks.unsure) > 0 { // the snapshot may need anything
		for _, u := range s.packs {
			if !u.missing {
				u.raw, u.live = u.size, u.size
			}
		}
	}
	return s, nil
}

// lookForMissing looks for packs that no listing showed, or showed with another length. A pack that was put since, or that
// is truncated, does not count as missing.
func (r *Repo) lookForMissing(ctx context.Context, s *scan) error {
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

// countingIndexes returns the index files that no other index file supersedes.
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

// late records that an index file lists a pack that no index file listed when the index was loaded.
func (s *scan) late(id pack.FileID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listed[id] = true
}

// take counts how much of one pack is needed.
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

// share decides which pack keeps a chunk that several packs hold. It is the pack with the most chunks that only it
// holds, because that pack will stay anyway.
func (s *scan) share() {
	for id, packs := range s.twice {
		keeper := slices.MinFunc(packs, func(a, b *use) int {
			return cmp.Or(cmp.Compare(b.sole, a.sole), bytes.Compare(a.id[:], b.id[:]))
		})
		keeper.live += int64(s.lens[id])
	}
	s.twice, s.lens = nil, nil
}

// dead returns the packs that no snapshot needs, including missing ones.
func (s *scan) dead() (dead map[pack.FileID]*use) {
	dead = maps.Clone(s.packs)
	maps.DeleteFunc(dead, func(_ pack.FileID, u *use) bool { return !u.dead() })
	return dead
}

// manySmallPacks is the number of small packs from which on they are repacked. Every backup leaves at least one.
const manySmallPacks = 16

// worthRepacking returns the packs whose needed chunks are worth copying, so that the packs can be deleted. It takes
// the emptiest first, until no more than a share of all packs is unused. It copies no more than limit bytes. If there
// are many small packs, it takes those, too.
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
