package repo

import (
	"fmt"
	"os"
	"path/filepath"

	"platter/repo/layout"
	"platter/repo/store"
)

// cacheTag tells backup programs to exclude the cache; see https://bford.info/cachedir/.
const cacheTag = "Signature: 8a477f597d28d172789f06886806bc55\n# Made by platter. It can be deleted at any time.\n"

// UseCache makes the Repo keep what it reads often in a folder of this machine, under the repository's ID. That is
// index files, snapshot files, and the in-memory index. The Repo trusts nothing in the cache that the keys do not
// prove, and all of it can be deleted at any time. If the folder cannot be made, there is no cache. UseCache must come
// before LoadIndex.
func (r *Repo) UseCache(folder string) {
	r.UseMemory(folder)
	own := filepath.Join(folder, r.ID())
	if MakeCache(folder, own) != nil {
		return
	}
	r.change(func(v *view) {
		v.cache.Folder = own
		if d, ok := v.store.(store.DryRun); ok { // DryRun outside, or else the cache would keep what is not put
			v.store = store.DryRun{Store: store.NewCached(d.Store, own, layout.Index, layout.Snapshots, layout.Verdicts)}
		} else {
			v.store = store.NewCached(v.store, own, layout.Index, layout.Snapshots, layout.Verdicts)
		}
	})
}

// UseBlockCache makes the Repo keep blocks of packs in a folder of this machine, under the repository's ID, so that a
// slow store is asked for each part of a pack once, also across runs. The blocks have at most limit bytes together. The
// Repo believes nothing in them that the keys do not prove. Check, Prune and repairs drop the block cache before they
// begin. The error says why the folder cannot be made.
func (r *Repo) UseBlockCache(folder string, limit int64) error {
	own := filepath.Join(folder, r.ID())
	if err := MakeCache(folder, own); err != nil {
		return fmt.Errorf("make the block cache: %w", err)
	}
	var err error
	r.change(func(v *view) {
		v.store, err = withBlocks(v.store, filepath.Join(own, "blocks"), limit)
	})
	return err
}

// withBlocks puts a block cache directly in front of the store itself: the other decorators come before it.
func withBlocks(s store.Store, folder string, limit int64) (store.Store, error) {
	switch d := s.(type) {
	case store.DryRun:
		inner, err := withBlocks(d.Store, folder, limit)
		return store.DryRun{Store: inner}, err
	case *store.Cached:
		inner, err := withBlocks(d.Store, folder, limit)
		return d.Over(inner), err
	}
	blocks, err := store.NewBlockCache(s, folder, limit, isPack)
	if err != nil {
		return s, err
	}
	return blocks, nil
}

// isPack reports whether a file is a pack. Its parity file is none: that may change under its name.
func isPack(name string) bool {
	_, ok := layout.ParseID(layout.Packs, store.Info{Name: name})
	return ok
}

// MakeCache makes the folder of one repository, own, in the cache folder.
func MakeCache(folder, own string) error {
	if err := os.MkdirAll(own, 0o700); err != nil {
		return err
	}
	tag := filepath.Join(folder, "CACHEDIR.TAG")
	if _, err := os.Lstat(tag); err != nil {
		// Without the tag, backup programs only store more than they need.
		_ = os.WriteFile(tag, []byte(cacheTag), 0o600)
	}
	return nil
}

// Close closes the store and the cache in front of it. No call may follow except another Close.
func (r *Repo) Close() error { return r.view().store.Close() }

// cached returns the cache in front of the store, or nil if there is none.
func (r *Repo) cached() *store.Cached { return r.view().cached() }

func (v *view) cached() *store.Cached {
	c, _ := store.As[*store.Cached](v.store)
	return c
}

// remember puts a stored file into the cache, if there is one.
func (r *Repo) remember(name string, file []byte) {
	if c := r.cached(); c != nil {
		c.Keep(name, file)
	}
}

// dropCache makes the Repo read the store itself from now on.
func (r *Repo) dropCache() {
	r.dropBlocks()
	r.change(func(v *view) {
		if c := v.cached(); c != nil && r.dry {
			v.store = store.DryRun{Store: c.Unwrap()}
		} else if c != nil {
			v.store = c.Unwrap()
		}
		v.cache.Folder = ""
	})
}

// dropBlocks makes the Repo read packs from the store itself from now on. Work that deletes, mends or vouches for packs
// must not be answered from blocks: a deleted pack still has some.
func (r *Repo) dropBlocks() {
	blocks, ok := store.As[*store.BlockCache](r.view().store)
	if !ok {
		return
	}
	r.change(func(v *view) { v.store = withoutBlocks(v.store) })
	blocks.Stop()
}

func withoutBlocks(s store.Store) store.Store {
	switch d := s.(type) {
	case store.DryRun:
		return store.DryRun{Store: withoutBlocks(d.Store)}
	case *store.Cached:
		return d.Over(withoutBlocks(d.Store))
	case *store.BlockCache:
		return d.Unwrap()
	}
	return s
}
