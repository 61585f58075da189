package index

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"platter/chunk"
	"platter/pack"
)

// A world is a model of a repository as an index sees it: index files, existing packs, and the index under test.
type world struct {
	t       *testing.T
	r       *rand.Rand
	cache   Cache
	files   map[pack.FileID]*File
	there   map[pack.FileID]int64
	all     []Pack // including deleted ones
	tables  map[pack.FileID]*pack.Table
	x       *Index
	claimed map[chunk.ID]bool
	ids     []chunk.ID // the packs' chunks are among these
}

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{
		t: t, r: rand.New(rand.NewPCG(seed, 7)), files: map[pack.FileID]*File{}, there: map[pack.FileID]int64{}, x: new(Index),
		tables: map[pack.FileID]*pack.Table{}, claimed: map[chunk.ID]bool{},
	}
	w.cache = Cache{Folder: t.TempDir(), Key: [32]byte{1, byte(seed)}, Repo: [16]byte{2}}
	for range 400 {
		id := chunk.ID(randomPackID(w.r))
		id[0], id[1] = byte(w.r.IntN(3)), byte(w.r.IntN(2)*255) // crowded, and in the first and last buckets
		w.ids = append(w.ids, id)
	}
	return w
}

// newPack adds a pack of some IDs to the store.
func (w *world) newPack() PackTable {
	ids := make([]chunk.ID, 1+w.r.IntN(12))
	for i := range ids {
		ids[i] = w.ids[w.r.IntN(len(w.ids))]
	}
	p, table := packOf(w.r, ids)
	w.there[p.ID] = p.Size
	w.all, w.tables[p.ID] = append(w.all, p), table
	return PackTable{p, table}
}

func (w *world) alive(id pack.FileID) bool {
	for _, f := range w.files {
		for _, old := range f.Supersedes {
			if old == id {
				return false
			}
		}
	}
	return w.files[id] != nil
}

// load opens an index as a repository does.
func (w *world) load(c *Cache, spill bool) *Index {
	x := Open(c)
	if spill {
		x.Spill(c)
	}
	covered := x.Files()
	for id, f := range w.files {
		counts := w.alive(id)
		if src, ok := covered[id]; ok && (src.Counts || !counts) {
			continue
		}
		if !counts {
			x.AddSource(id, f.Supersedes, nil)
			continue
		}
		for _, p := range f.Packs {
			size, ok := w.there[p.ID]
			p.Missing = !ok || size != p.Size
			x.AddPack(p.Pack, p.Table)
		}
		x.AddSource(id, f.Supersedes, f.Packs)
	}
	x.Reconcile(func(id pack.FileID) (bool, bool) { return w.files[id] != nil, w.alive(id) },
		func(id pack.FileID) (int64, bool) { size, ok := w.there[id]; return size, ok })
	if spill || x.Wasted() {
		if err := x.Merge(context.Background(), c); err != nil {
			w.t.Fatal(err)
		}
	}
	return x
}

// step makes one random change to the repository or the index.
func (w *world) step() string {
	switch w.r.IntN(12) {
	case 0, 1, 2: // a backup by this process
		f := &File{}
		for range 1 + w.r.IntN(3) {
			p := w.newPack()
			w.x.AddPack(p.Pack, p.Table)
			for _, ref := range p.Table.Chunks {
				delete(w.claimed, ref.ID)
			}
			f.Packs = append(f.Packs, p)
		}
		id := randomPackID(w.r)
		w.files[id] = f
		w.x.AddSource(id, nil, f.Packs)
		return "backup"
	case 3: // a backup by another process
		w.files[randomPackID(w.r)] = &File{Packs: []PackTable{w.newPack(), w.newPack()}}
		w.reload()
		return "other backup"
	case 4:
		w.forget()
		return "forget"
	case 5:
		w.supersede()
		return "supersede"
	case 6:
		if p := w.all; len(p) > 0 {
			delete(w.there, p[w.r.IntN(len(p))].ID)
			w.reload()
		}
		return "pack lost"
	case 7:
		if p := w.all; len(p) > 0 {
			back := p[w.r.IntN(len(p))]
			w.there[back.ID] = back.Size
			w.reload()
		}
		return "pack put back"
	case 8, 9:
		if err := w.x.Merge(context.Background(), &w.cache); err != nil {
			w.t.Fatal(err)
		}
		return "merge"
	case 10:
		w.reload()
		return "reload"
	default:
		id := w.ids[w.r.IntN(len(w.ids))]
		all, _ := w.places()
		live := all[id]
		if got, want := w.x.Claim(id), len(live) == 0 && !w.claimed[id]; got != want {
			w.t.Fatalf("claim of %v: %v, want %v", id, got, want)
		}
		if len(live) == 0 {
			w.claimed[id] = true
		}
		return "claim"
	}
}

func (w *world) reload() {
	w.x = w.load(&w.cache, w.r.IntN(3) == 0)
	clear(w.claimed)
}

// forget removes index files without replacing them, so that some packs may be in none.
func (w *world) forget() {
	for id := range w.files {
		if w.r.IntN(4) == 0 {
			delete(w.files, id)
		}
	}
	w.reload()
}

// supersede replaces some index files by one, and drops a pack. Superseded files may stay.
func (w *world) supersede() {
	f := &File{}
	for id, old := range w.files {
		if w.alive(id) && w.r.IntN(2) == 0 {
			f.Supersedes = append(f.Supersedes, id)
			f.Packs = append(f.Packs, old.Packs...)
		}
	}
	if len(f.Packs) > 1 && w.r.IntN(3) == 0 {
		f.Packs = f.Packs[1:]
	}
	w.files[randomPackID(w.r)] = f
	for _, id := range f.Supersedes {
		if w.r.IntN(2) == 0 {
			delete(w.files, id)
		}
	}
	w.reload()
}

// places returns the places of each chunk: in packs that exist (live), and in missing ones (missing).
func (w *world) places() (live, missing map[chunk.ID]map[Location]bool) {
	live, missing = map[chunk.ID]map[Location]bool{}, map[chunk.ID]map[Location]bool{}
	for p := range w.listed() {
		to := missing
		if size, ok := w.there[p.ID]; ok && size == p.Size {
			to = live
		}
		ids, at := locations(p, w.tables[p.ID])
		for i, id := range ids {
			if to[id] == nil {
				to[id] = map[Location]bool{}
			}
			to[id][at[i]] = true
		}
	}
	return live, missing
}

// listed returns the packs that index files list.
func (w *world) listed() map[Pack]bool {
	listed := map[Pack]bool{}
	for id, f := range w.files {
		if w.alive(id) {
			for _, p := range f.Packs {
				listed[p.Pack] = true
			}
		}
	}
	return listed
}

// check compares an index with the model.
func (w *world) check(x *Index, what string) {
	w.t.Helper()
	listed := map[pack.FileID]bool{}
	for p := range w.listed() {
		listed[p.ID] = true
	}
	allLive, allMissing := w.places()
	known := map[pack.FileID]bool{}
	for _, p := range x.Packs() {
		size, ok := w.there[p.ID]
		if known[p.ID] = true; !listed[p.ID] || p.Missing != (!ok || size != p.Size) {
			w.t.Fatalf("%s: the index knows pack %v, missing %v; listed %v, exists %v", what, p.ID, p.Missing, listed[p.ID], ok)
		}
	}
	for _, p := range w.all {
		if x.HasPack(p.ID) != listed[p.ID] || known[p.ID] != listed[p.ID] {
			w.t.Fatalf("%s: knows pack %v: %v, listed %v", what, p.ID, x.HasPack(p.ID), listed[p.ID])
		}
	}
	values := x.Values()
	for _, id := range w.ids {
		live, missing := allLive[id], allMissing[id]
		at, ok := x.Lookup(id)
		switch {
		case len(live) > 0 && (!ok || !live[at]):
			w.t.Fatalf("%s: %v is at %+v (%v), want one of %+v", what, id, at, ok, live)
		case len(live) == 0 && ok && !missing[at]:
			w.t.Fatalf("%s: %v is at %+v, where no pack ever had it", what, id, at)
		case len(live) == 0 && !ok && len(missing) > 0 && !w.claimed[id]:
			w.t.Fatalf("%s: %v is not found, want one of %+v", what, id, missing)
		}
		if v, n := values.At(id); ok && (v == nil || *v != 0) || ok && !w.claimed[id] && n == 0 {
			w.t.Fatalf("%s: %v has value %v and %d bytes", what, id, v, n)
		} else if v != nil {
			*v = 1
		}
	}
}

// TestWorlds runs random histories of a repository. After each step it compares the index with the model, and so it
// does new indexes opened with the cache and without.
func TestWorlds(t *testing.T) {
	steps := 70
	if testing.Short() {
		steps = 30
	}
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := newWorld(t, seed)
			merged := 0
			for step := range steps {
				did := w.step()
				w.check(w.x, fmt.Sprintf("step %d, %s", step, did))
				if w.x.Stored() > 0 {
					merged++
				}
				if step%5 == 0 {
					was := w.claimed
					w.claimed = map[chunk.ID]bool{}
					copied := w.cache
					copied.Folder = t.TempDir()
					if data, err := os.ReadFile(filepath.Join(w.cache.Folder, runName)); err == nil {
						if err := os.WriteFile(filepath.Join(copied.Folder, runName), data, 0o600); err != nil {
							t.Fatal(err)
						}
					}
					w.check(w.load(&copied, false), fmt.Sprintf("step %d, %s, with the cache", step, did))
					w.check(w.load(&copied, true), fmt.Sprintf("step %d, %s, with the cache and a spill", step, did))
					w.check(w.load(new(Cache), false), fmt.Sprintf("step %d, %s, without a cache", step, did))
					w.check(w.load(new(Cache), true), fmt.Sprintf("step %d, %s, with a spill and no cache", step, did))
					w.claimed = was
				}
			}
			if merged < steps/4 {
				t.Errorf("the index had a run after only %d of %d steps", merged, steps)
			}
		})
	}
}
