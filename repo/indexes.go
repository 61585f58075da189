package repo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"platter/index"
	"platter/pack"
	"platter/repo/layout"
	"platter/repo/lease"
)

// When to merge the additions to the index into a new run. Merging needs at least this many chunks, and enough of them
// to justify rewriting the run.
const (
	minRun    = 16 << 10  // with a cache, where a run saves the next opening from reading them
	maxRecent = 512 << 10 // without a cache, to save memory: 27 MiB
	indexByte = 38        // approximate bytes of an index file for each chunk
)

// LoadIndex reads every index file that the cache does not hold, and lists the packs. A chunk whose pack is missing is
// stored again when a backup meets it. LoadIndex must come before every lookup of a chunk, and after snapshots were
// listed: the index lists a snapshot's chunks before the snapshot is there.
func (r *Repo) LoadIndex(ctx context.Context) error {
	// A Write adds to the index that it began with. An index loaded beside it would miss what the Write stored.
	r.indexing.Lock()
	defer r.indexing.Unlock()
	const tries = 3
	for try := 1; ; try++ {
		l, err := r.readIndexes(ctx)
		var found *lease.State
		var under pack.FileID
		if err == nil {
			under, found, err = r.foundState(ctx)
		}
		if err == nil {
			r.use(l, under, found)
			return nil
		}
		// Between listing and reading, another process may have replaced several index files by one.
		if !layout.IsMissing(err) || try == tries {
			if errors.Is(err, pack.ErrDamaged) {
				return fmt.Errorf("load index: %w; 'repair index' rebuilds it from the packs", err)
			}
			return fmt.Errorf("load index: %w", err)
		}
	}
}

// reloadIndex loads the index again if it was loaded before the lease, because listed packs may have been deleted
// since.
func (r *Repo) reloadIndex(ctx context.Context) error {
	under, _, _ := r.leases.Held()
	if loaded := r.view().loaded; loaded == nil || *loaded == under {
		return nil
	}
	return r.LoadIndex(ctx)
}

// foundState returns the lease and the state when the lease was taken. A process without a lease only reads. It reads
// from packs that markers name only if there is no other place: they may be damaged or deleted soon.
func (r *Repo) foundState(ctx context.Context) (under pack.FileID, found *lease.State, err error) {
	under, found, ok := r.leases.Held()
	if !ok {
		found, err = r.leases.Read(ctx)
	}
	return under, found, err
}

// use makes a loaded index the current one. It applies the markers: nothing builds on the packs that they name, and
// these packs are not adopted.
func (r *Repo) use(l *loading, under pack.FileID, found *lease.State) {
	named := found.Condemned()
	maps.Copy(named, found.Damaged())
	l.index.Suspend(slices.Collect(maps.Keys(named)))
	r.change(func(v *view) {
		v.index, v.files, v.loaded, v.orphaned = l.index, l.known(), &under, l.orphans
		v.adoptable = slices.DeleteFunc(slices.Clone(l.orphans), func(p layout.File) bool { return named[p.ID] })
	})
	r.stale = false
}

// A loading is one running LoadIndex.
type loading struct {
	repo       *Repo
	sizes      map[pack.FileID]int64 // packs present, with their sizes
	files      []layout.File         // index files
	there      map[pack.FileID]int64 // the same files, by ID, with their sizes
	superseded map[pack.FileID]bool

	index   *index.Index
	orphans []layout.File
}

// known returns what this Repo knows of index files from now on.
func (l *loading) known() *indexFiles {
	return &indexFiles{sizes: l.there, superseded: l.superseded}
}

func (r *Repo) readIndexes(ctx context.Context) (*loading, error) {
	// Packs are listed first. A later pack counts as missing and, at worst, its chunks are stored again.
	packs, err := layout.List(ctx, r.view().store, layout.Packs)
	if err != nil {
		return nil, err
	}
	l := &loading{repo: r, sizes: make(map[pack.FileID]int64, len(packs)), there: map[pack.FileID]int64{}, superseded: map[pack.FileID]bool{}}
	for _, p := range packs {
		l.sizes[p.ID] = p.Size
	}
	// A process takes packs out of the index before it deletes them. So a writer that sees the current index never
	// builds on a deleted pack, however old its listing of packs is.
	if l.files, err = r.lister()(ctx, r.view().store, layout.Index); err != nil {
		return nil, err
	}
	for _, f := range l.files {
		l.there[f.ID] = f.Size
	}
	if l.index, err = l.load(ctx); err != nil {
		return nil, err
	}
	l.orphans = slices.DeleteFunc(packs, func(p layout.File) bool { return l.index.HasPack(p.ID) })
	return l, nil
}

// load reads what the cache does not cover. It reads again if it took index files in that turned out to be superseded.
// That is rare, because a process that supersedes a file deletes it next.
func (l *loading) load(ctx context.Context) (*index.Index, error) {
	spill, cache := true, l.repo.view().cache
	for {
		x := index.Open(&cache)
		fresh, bytes := l.uncovered(x)
		merge := bytes/indexByte >= l.worthwhile(x)
		if merge && spill {
			x.Spill(&cache)
		}
		again, err := l.take(ctx, x, fresh)
		if err != nil || again {
			x.Close()
			if err != nil {
				return nil, err
			}
			continue
		}
		x.Reconcile(l.stands, func(id pack.FileID) (int64, bool) { size, ok := l.sizes[id]; return size, ok })
		if merge || x.Wasted() {
			if err := l.repo.mergeRun(ctx, x); ctx.Err() != nil {
				x.Close()
				return nil, ctx.Err()
			} else if err != nil && merge && spill { // its data on this machine's disk cannot be read back
				x.Close()
				spill = false
				continue
			}
		}
		return x, nil
	}
}

// uncovered returns the index files that the run of x does not cover, and their bytes.
func (l *loading) uncovered(x *index.Index) (fresh []layout.File, bytes int64) {
	covered := x.Files()
	for _, f := range l.files {
		for _, old := range covered[f.ID].Supersedes {
			l.superseded[old] = true
		}
	}
	for _, f := range l.files {
		if src, ok := covered[f.ID]; !ok || !src.Counts && !l.superseded[f.ID] {
			fresh = append(fresh, f)
			bytes += f.Size
		}
	}
	return fresh, bytes
}

// worthwhile returns how many chunks outside the run of x justify a new run.
func (l *loading) worthwhile(x *index.Index) int64 {
	least := l.repo.maxRecent
	if l.repo.view().cache.Folder != "" {
		least = l.repo.minRun
	}
	return int64(max(least, x.Stored()/16))
}

// stands reports whether an index file that the run covers is still there, and whether it still counts.
func (l *loading) stands(id pack.FileID) (there, counts bool) {
	_, there = l.there[id]
	return there, there && !l.superseded[id]
}

// take reads index files into x. It reports whether it took one that another file supersedes.
func (l *loading) take(ctx context.Context, x *index.Index, files []layout.File) (again bool, err error) {
	var mu sync.Mutex
	var taken []pack.FileID
	err = l.repo.eachIndex(ctx, files, func(id pack.FileID, f *index.File) error {
		mu.Lock()
		skip := l.superseded[id]
		for _, old := range f.Supersedes {
			l.superseded[old] = true
		}
		if !skip {
			taken = append(taken, id)
		}
		mu.Unlock()
		if skip {
			x.AddSource(id, f.Supersedes, nil)
			return nil
		}
		for _, p := range f.Packs {
			size, ok := l.sizes[p.ID]
			p.Missing = !ok || size != p.Size
			x.AddPack(p.Pack, p.Table)
		}
		x.AddSource(id, f.Supersedes, f.Packs)
		return nil
	})
	return slices.ContainsFunc(taken, func(id pack.FileID) bool { return l.superseded[id] }), err
}

// mergeRun makes a new run of an index. Then the cache no longer needs copies of the index files that the run covers.
func (r *Repo) mergeRun(ctx context.Context, x *index.Index) error {
	cache := r.view().cache
	if r.dry { // a dry run stores nothing, so no other process may see what it adds
		cache.Folder = ""
	}
	if err := x.Merge(ctx, &cache); err != nil {
		return err
	}
	if c := r.cached(); c != nil && !r.dry {
		for id, src := range x.Files() {
			if src.Counts {
				c.Forget(layout.Name(layout.Index, id))
			}
		}
	}
	return nil
}
