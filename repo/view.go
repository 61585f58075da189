package repo

import (
	"slices"

	"platter/index"
	"platter/pack"
	"platter/repo/layout"
	"platter/repo/store"
)

// A view is a store, and what was last loaded from it. It is immutable: what loads the index again, or leaves out the cache,
// makes another view. A Load or Fetch takes the view once, so it sees one index and one store from its beginning to its end.
//
// The index in it only grows meanwhile, and guards itself; so do the known index files.
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

// change replaces the view by a copy that fn changed.
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

// dropOrphans takes packs off the list of orphaned ones.
func (r *Repo) dropAdoptable(drop func(layout.File) bool) {
	r.change(func(v *view) { v.adoptable = slices.DeleteFunc(slices.Clone(v.adoptable), drop) })
}
