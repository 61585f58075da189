package index

import (
	"slices"

	"platter/pack"
)

// A Source is what the index knows of an index file that it was made from.
type Source struct {
	Supersedes []pack.FileID
	Counts     bool     // its packs are in the index; else it was superseded, and has to be read if it no longer is
	packs      []uint32 // positions
}

// Open returns an Index of what the cache has. Until Settle, it knows nothing for sure. A cache that is not there, is
// damaged, or is another repository's is an empty one.
func Open(c *Cache) *Index {
	x := new(Index)
	r, err := openRun(c)
	if err != nil {
		return x
	}
	files, ok := r.sources()
	if !ok {
		r.free()
		return x
	}
	sweep(c.Folder)
	x.base, x.packs, x.files, x.anyGone = r, r.known(), files, true
	x.known = make(map[pack.FileID]uint32, len(x.packs))
	for i := range x.packs {
		x.known[x.packs[i].ID] = uint32(i)
	}
	return x
}

// Files returns the index files that the index was made from.
func (x *Index) Files() map[pack.FileID]Source {
	x.mu.RLock()
	defer x.mu.RUnlock()
	files := make(map[pack.FileID]Source, len(x.files))
	for id, src := range x.files {
		files[id] = *src
	}
	return files
}

// Cover notes that an index file was taken in: the next run stands in for it. Where packs is nil, the file was superseded
// and counts for nothing.
func (x *Index) Cover(file pack.FileID, supersedes []pack.FileID, packs []PackTable) {
	x.mu.Lock()
	defer x.mu.Unlock()
	src := &Source{Supersedes: slices.Clone(supersedes), Counts: packs != nil}
	for i := range packs {
		at, ok := x.known[packs[i].ID]
		if !ok {
			return // somebody has to read it
		}
		src.packs = append(src.packs, at)
	}
	if x.files == nil {
		x.files = make(map[pack.FileID]*Source)
	}
	x.files[file] = src
}

// Settle says what became of the index files that the run stands in for, and of the packs they list. A pack that no file
// lists any more is not known from then on, whatever the run has of it: its index files are removed before it is itself.
func (x *Index) Settle(file func(pack.FileID) (there, counts bool), size func(pack.FileID) (int64, bool)) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for id, src := range x.files {
		there, counts := file(id)
		if !there {
			delete(x.files, id)
		} else if counts {
			for _, at := range src.packs {
				p := &x.packs[at]
				n, ok := size(p.ID)
				p.listed, p.Gone = true, !ok || n != p.Size
			}
		}
	}
	x.anyGone = slices.ContainsFunc(x.packs, func(p knownPack) bool { return p.lost() })
}

// Wasted reports whether more than a quarter of the run's packs are no longer listed.
func (x *Index) Wasted() bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if x.base == nil {
		return false
	}
	unlisted := 0
	for i := range x.base.packCount {
		if !x.packs[i].listed {
			unlisted++
		}
	}
	return 4*unlisted > x.base.packCount
}

// Spill makes what is added from now on go around the shards, into a file, until Merge makes a run of it. It is for taking
// in more than should be in memory; nothing that was added is found meanwhile.
func (x *Index) Spill(c *Cache) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.spill = newSpill(c.Folder)
}

// Close gives back what an index takes outside of the heap, now and not when the collector comes by. The index must not be
// used again.
func (x *Index) Close() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.spill != nil {
		x.spill.close()
	}
	if x.base != nil {
		x.base.free()
	}
	x.base, x.spill = nil, nil
}
