package repo

import (
	"slices"

	"platter/index"
	"platter/pack"
	"platter/repo/layout"
	"platter/repo/store"
)

// A view is a store and what was last loaded from it. It is immutable: loading the index again, or dropping the cache,
// makes another view. A Load or Fetch takes the view once, so it uses one index and one store throughout.
//
// Its index and its known index files only grow, and are safe for concurrent use themselves.
type view struct {
	store     store.Store
	index     *index.Index
	files     *indexFiles
	adoptable []layout.File // packs that LoadIndex found in no index file, and that no marker names
	orphaned  []layout.File // all packs that it found in no index file
	loaded    *pack.FileID  // the lease under which the index was loaded, zero for none; nil while no index is
	cache     index.Cache   // where the index is kept on this machine
}

// view returns the current view.
func (r *Repo) view() *view { return r.current.Load() }

// change replaces the view with a copy that fn has changed.
func (r *Repo) change(fn func(v *view)) {
	r.changing.Lock()
	defer r.changing.Unlock()
	next := new(view)
	if v := r.current.Load(); v != nil {
		*next = *v
	}
	fn(next)
	r.current.Store(next)
}

func (r *Repo) setStore(s store.Store) { r.change(func(v *view) { v.store = s }) }

// dropOrphans removes packs from the list of orphaned packs.
func (r *Repo) dropAdoptable(drop func(layout.File) bool) {
	r.change(func(v *view) { v.adoptable = slices.DeleteFunc(slices.Clone(v.adoptable), drop) })
}
