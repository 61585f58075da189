package repo

import (
	"context"
	"sync"

	"platter/index"
	"platter/pack"
	"platter/repo/layout"
	"platter/repo/store"
)

// newer is the index as it is now, where it is not the one that was loaded any more. It is for rescues only: what was written
// since is in none of the two.
type newer struct {
	mu    sync.Mutex
	index *index.Index          // nil while there was no need
	files map[pack.FileID]int64 // the index files that it was made of
}

// newerIndex returns the index as it is now, nil where it is still that of a view, or cannot be read.
func (r *Repo) newerIndex(ctx context.Context, v *view) *index.Index {
	r.newer.mu.Lock()
	defer r.newer.mu.Unlock()
	for range 3 { // index files may go between being listed and being read
		_ = store.Refresh(ctx, v.store, layout.Index) // a repository that may only be read lists what it lists
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

// are reports whether these are the index files that are known.
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
