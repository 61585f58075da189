package repo

import (
	"context"
	"sync"

	"platter/index"
	"platter/pack"
	"platter/repo/layout"
	"platter/repo/store"
)

// newer is the current index, if it differs from the one that was loaded. It is for rescues only. Neither index lists
// what was written since.
type newer struct {
	mu    sync.Mutex
	index *index.Index          // nil until it is needed
	files map[pack.FileID]int64 // the index files that it was made from
}

// newerIndex returns the current index. It returns nil if that is the index of the view, or if it cannot be read.
func (r *Repo) newerIndex(ctx context.Context, v *view) *index.Index {
	r.newer.mu.Lock()
	defer r.newer.mu.Unlock()
	for range 3 { // index files may be deleted between listing and reading
		_ = store.Refresh(ctx, v.store, layout.Index) // a read-only repository may be unable to refresh
		files, err := layout.List(ctx, v.store, layout.Index)
		if err != nil || v.files.are(files) {
			return nil
		}
		if r.newer.index != nil && sameFiles(r.newer.files, files) {
			return r.newer.index
		}
		l, err := r.readIndexes(ctx)
		if err == nil {
			r.newer.index, r.newer.files = l.index, l.there
		} else if !layout.IsMissing(err) {
			return nil
		}
	}
	return r.newer.index
}

// are reports whether these are exactly the known index files that count.
func (f *indexFiles) are(files []layout.File) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return sameFiles(f.sizes, files)
}

func sameFiles(known map[pack.FileID]int64, files []layout.File) bool {
	if len(known) != len(files) {
		return false
	}
	for _, f := range files {
		if _, ok := known[f.ID]; !ok {
			return false
		}
	}
	return true
}
