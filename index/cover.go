package index

import (
	"slices"

	"platter/pack"
)

// A Source is an index file that the index includes.
type Source struct {
	Supersedes []pack.FileID
	Counts     bool     // its packs are in the index; false if it was superseded, so that it must be read once that ends
	packs      []uint32 // positions
}

// Open returns the Index that the cache holds. It finds no chunk until Reconcile confirms its packs. If the cache is
// missing, damaged or another repository's, the Index is empty.
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
	x.base, x.packs, x.files, x.anyUnusable = r, r.known(), files, true
	x.known = make(map[pack.FileID]uint32, len(x.packs))
	for i := range x.packs {
		x.known[x.packs[i].ID] = uint32(i)
	}
	return x
}

// Files returns the index files that the index includes.
func (x *Index) Files() map[pack.FileID]Source {
	x.mu.RLock()
	defer x.mu.RUnlock()
	files := make(map[pack.FileID]Source, len(x.files))
	for id, src := range x.files {
		files[id] = *src
	}
	return files
}

// AddSource records that the index includes an index file, so that the next run replaces it. A nil packs means that
// the file is superseded: its packs are not in the index.
func (x *Index) AddSource(file pack.FileID, supersedes []pack.FileID, packs []PackTable) {
	x.mu.Lock()
	defer x.mu.Unlock()
	src := &Source{Supersedes: slices.Clone(supersedes), Counts: packs != nil}
	for i := range packs {
		at, ok := x.known[packs[i].ID]
		if !ok {
			return // the file stays unrecorded, so it is read again
		}
		src.packs = append(src.packs, at)
	}
	if x.files == nil {
		x.files = make(map[pack.FileID]*Source)
	}
	x.files[file] = src
}

// Reconcile compares the run with the index files and packs that exist now. For each index file, file reports whether
// it exists, and whether it counts (no other file supersedes it). For each pack, size returns the length of its file
// in bytes, and false if there is none.
//
// After Reconcile, the index knows no pack that index files do not list. It must not: a pack's index files are
// deleted before the pack itself.
func (x *Index) Reconcile(file func(pack.FileID) (there, counts bool), size func(pack.FileID) (int64, bool)) {
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
				p.listed, p.Missing = true, !ok || n != p.Size
			}
		}
	}
	x.anyUnusable = slices.ContainsFunc(x.packs, func(p knownPack) bool { return p.unusable() })
}

// Wasted reports whether index files no longer list more than a quarter of the run's packs.
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

// Spill diverts the chunks of packs added from now on into a temporary file, until Merge makes a run of it. It is for
// loading more chunks than memory should hold. Lookup finds none of them before Merge returns.
func (x *Index) Spill(c *Cache) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.spill = newSpill(c.Folder)
}

// Close frees the index's mappings and files at once instead of at a garbage collection. The index must not be used
// again.
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
