package repo

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"platter/index"
	"platter/pack"
	"platter/repo/layout"
)

// Every backup leaves at least one index file. If many of them are small, a successful backup joins them into few.
const (
	smallIndex = 1 << 20  // bytes; a larger file stays as it is, so that rewriting comes to an end
	manySmall  = 32       // files
	tidyBytes  = 32 << 20 // of small files that are joined at once, since all of them are in memory
)

// indexFiles are the index files known to exist: those that LoadIndex listed, and those put since.
type indexFiles struct {
	mu         sync.Mutex
	sizes      map[pack.FileID]int64
	superseded map[pack.FileID]bool
}

func (f *indexFiles) add(id pack.FileID, size int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.sizes == nil {
		f.sizes, f.superseded = map[pack.FileID]int64{}, map[pack.FileID]bool{}
	}
	f.sizes[id] = size
}

// small counts the small files that are not superseded.
func (f *indexFiles) small() (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, size := range f.sizes {
		if size < smallIndex && !f.superseded[id] {
			n++
		}
	}
	return n
}

// tidy joins small index files. A failure is no fault of the backup, which is safe by then: the index is whole with the
// old files, with the new ones, and with both. The tidy of a later backup does what is left.
func (w *Writer) tidy(ctx context.Context) {
	r := w.repo
	if r.dry || r.view().files.small() < manySmall {
		return
	}
	if _, found, _ := r.leases.Held(); len(found.Condemned()) > 0 { // a prune may be about to drop packs from them
		return
	}
	if bytes, err := r.joinIndexes(ctx); err == nil {
		w.stats.Stored.Add(bytes)
	}
}

// joinIndexes joins the small index files into few, and deletes them. It returns the bytes of the new files. Two
// processes that join at once leave packs listed twice. That does no harm, and the next join mends it.
func (r *Repo) joinIndexes(ctx context.Context) (bytes int64, err error) {
	// From a fresh listing: what another process has superseded since must not come back.
	files, err := layout.ListNow(ctx, r.view().store, layout.Index)
	if err != nil {
		return 0, err
	}
	superseded, err := r.supersededNow(ctx, files)
	if err != nil {
		return 0, err
	}
	small := slices.DeleteFunc(slices.Clone(files), func(f layout.File) bool { return f.Size >= smallIndex || superseded[f.ID] })
	slices.SortFunc(small, func(a, b layout.File) int {
		return cmp.Or(cmp.Compare(a.Size, b.Size), slices.Compare(a.ID[:], b.ID[:]))
	})
	total := int64(0)
	for i, f := range small {
		if total += f.Size; total > tidyBytes {
			small = small[:i]
			break
		}
	}
	if len(small) < manySmall {
		return 0, nil
	}
	tables, supersedes, err := r.join(ctx, small, files)
	if err != nil {
		return 0, err
	}
	fresh, err := r.putIndexes(ctx, tables, supersedes, func(t []index.PackTable) bool { return tableBytes(t) >= indexBytes })
	if err != nil {
		return 0, err
	}
	for _, f := range fresh {
		bytes += f.Size
	}
	known := r.view().files
	known.mu.Lock()
	for _, id := range supersedes {
		known.superseded[id] = true
	}
	known.mu.Unlock()
	for _, id := range supersedes {
		if ctx.Err() != nil {
			break
		}
		// Some stores forbid deletion. A superseded file counts for nothing.
		_ = r.view().store.Delete(ctx, layout.Name(layout.Index, id))
	}
	return bytes, nil
}

// supersededNow adds what later index files supersede to what LoadIndex learned.
func (r *Repo) supersededNow(ctx context.Context, files []layout.File) (map[pack.FileID]bool, error) {
	superseded := map[pack.FileID]bool{}
	known := r.view().files
	known.mu.Lock()
	for id := range known.superseded {
		superseded[id] = true
	}
	unknown := slices.DeleteFunc(slices.Clone(files), func(f layout.File) bool { _, ok := known.sizes[f.ID]; return ok })
	known.mu.Unlock()
	var mu sync.Mutex
	err := r.eachIndex(ctx, unknown, func(_ pack.FileID, f *index.File) error {
		mu.Lock()
		defer mu.Unlock()
		for _, old := range f.Supersedes {
			superseded[old] = true
		}
		return nil
	})
	return superseded, err
}

// join reads small files and returns their tables, each pack once. It also returns what a file with those tables
// supersedes: the small files, and the existing files that they supersede. Without the latter, those would count again.
func (r *Repo) join(ctx context.Context, small, files []layout.File) (tables []index.PackTable, supersedes []pack.FileID, err error) {
	there := map[pack.FileID]bool{}
	for _, f := range files {
		there[f.ID] = true
	}
	packs, old := map[pack.FileID]index.PackTable{}, map[pack.FileID]bool{}
	var mu sync.Mutex
	err = r.eachIndex(ctx, small, func(id pack.FileID, f *index.File) error {
		mu.Lock()
		defer mu.Unlock()
		old[id] = true
		for _, p := range f.Packs {
			packs[p.ID] = p
		}
		for _, id := range f.Supersedes {
			if there[id] {
				old[id] = true
			}
		}
		return nil
	})
	for _, p := range packs {
		tables = append(tables, p)
	}
	for id := range old {
		supersedes = append(supersedes, id)
	}
	slices.SortFunc(tables, func(a, b index.PackTable) int { return slices.Compare(a.ID[:], b.ID[:]) })
	slices.SortFunc(supersedes, func(a, b pack.FileID) int { return slices.Compare(a[:], b[:]) })
	return tables, supersedes, err
}

// fullIndex reports whether the tables suffice to fill one index file.
func fullIndex(tables []index.PackTable) bool {
	return len(tables) >= packsPerIndex || tableBytes(tables) >= indexBytes
}

func tableBytes(tables []index.PackTable) (bytes int) {
	for _, t := range tables {
		bytes += t.Table.EncodedSize()
	}
	return bytes
}
