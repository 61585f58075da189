package index

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"platter/chunk"
	"platter/pack"
)

// merged returns an index of n packs with a run in the cache's folder, and its packs and chunks.
func merged(t testing.TB, c *Cache, seed uint64, n int) (*Index, []Pack, map[chunk.ID]Location) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 5))
	x := new(Index)
	var packs []Pack
	all := map[chunk.ID]Location{}
	f := &File{}
	for range n {
		ids := make([]chunk.ID, 1+r.IntN(30))
		for i := range ids {
			ids[i] = chunk.ID(randomPackID(r))
		}
		p, table := packOf(r, ids)
		x.AddPack(p, table)
		f.Packs = append(f.Packs, PackTable{p, table})
		packs = append(packs, p)
		ids, at := locations(p, table)
		for i := range ids {
			all[ids[i]] = at[i]
		}
	}
	x.AddSource(pack.FileID{1}, []pack.FileID{{2}, {3}}, f.Packs)
	if err := x.Merge(context.Background(), c); err != nil {
		t.Fatal(err)
	}
	return x, packs, all
}

// reconcileAll reports every file and every pack as unchanged.
func reconcileAll(x *Index, packs []Pack) {
	x.Reconcile(func(pack.FileID) (bool, bool) { return true, true }, func(id pack.FileID) (int64, bool) {
		at := slices.IndexFunc(packs, func(p Pack) bool { return p.ID == id })
		if at < 0 || packs[at].Missing {
			return 0, false
		}
		return packs[at].Size, true
	})
}

func wantAll(t *testing.T, x *Index, all map[chunk.ID]Location) {
	t.Helper()
	for id, want := range all {
		if got, ok := x.Lookup(id); !ok || got != want {
			t.Fatalf("%v is at %+v (%v), want %+v", id, got, ok, want)
		}
	}
}

func TestCacheRoundTrip(t *testing.T) {
	c := &Cache{Folder: t.TempDir(), Key: [32]byte{1}, Repo: [16]byte{2}}
	x, packs, all := merged(t, c, 1, 40)
	wantAll(t, x, all)
	if x.Recent() != 0 || x.Stored() != len(all) {
		t.Errorf("%d chunks in the run and %d outside it, want %d and 0", x.Stored(), x.Recent(), len(all))
	}
	again := Open(c)
	if len(again.Packs()) != 0 {
		t.Error("packs are known before Reconcile")
	}
	if _, ok := again.Lookup(firstOf(all)); ok {
		t.Error("a chunk is found before Reconcile")
	}
	reconcileAll(again, packs)
	wantAll(t, again, all)
	if src := again.Files()[pack.FileID{1}]; !src.Counts || !slices.Equal(src.Supersedes, []pack.FileID{{2}, {3}}) {
		t.Errorf("the file is remembered as %+v", src)
	}
	if again.Claim(firstOf(all)) {
		t.Error("a known chunk can be claimed")
	}
	for name, other := range map[string]*Cache{
		"another key": {Folder: c.Folder, Repo: c.Repo}, "another repository": {Folder: c.Folder, Key: c.Key}, "another folder": {Folder: t.TempDir(), Key: c.Key, Repo: c.Repo},
	} {
		if Open(other).Stored() != 0 {
			t.Errorf("the cache opens with %s", name)
		}
	}
	info, err := os.Stat(filepath.Join(c.Folder, runName))
	if err != nil || info.Mode().Perm()&0o077 != 0 {
		t.Errorf("mode %v, %v: other users can read it", info.Mode(), err)
	}
	entries, err := os.ReadDir(c.Folder)
	if err != nil || len(entries) != 1 {
		t.Errorf("temporary files remain: %v, %v", entries, err)
	}
}

func firstOf(all map[chunk.ID]Location) chunk.ID {
	ids := []chunk.ID{}
	for id := range all {
		ids = append(ids, id)
	}
	return slices.MinFunc(ids, func(a, b chunk.ID) int { return bytes.Compare(a[:], b[:]) })
}

// TestReturns checks that a chunk is found if any existing pack holds it, even after packs disappeared and
// reappeared.
func TestReturns(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	id := chunk.ID(randomPackID(r))
	make2 := func() (Pack, *pack.Table, Location) {
		p, table := packOf(r, []chunk.ID{id})
		_, at := locations(p, table)
		return p, table, at[0]
	}
	p, ptable, inP := make2()
	q, qtable, inQ := make2()
	missing := func(p Pack) Pack { p.Missing = true; return p }
	want := func(what string, x *Index, at Location) {
		t.Helper()
		if got, ok := x.Lookup(id); !ok || got != at {
			t.Errorf("%s: found %v at %+v, want %+v", what, ok, got, at)
		}
	}
	x := new(Index)
	x.AddPack(missing(p), ptable)
	x.AddPack(missing(q), qtable)
	x.AddPack(p, ptable)
	want("of two missing packs, the first is back", x, inP)
	if x.Claim(id) {
		t.Error("a chunk can be claimed although its pack is back")
	}

	c := &Cache{Folder: t.TempDir()}
	x = new(Index)
	x.AddPack(missing(p), ptable)
	x.AddPack(q, qtable)
	x.AddSource(pack.FileID{1}, nil, []PackTable{{p, ptable}, {q, qtable}})
	if err := x.Merge(context.Background(), c); err != nil {
		t.Fatal(err)
	}
	want("merged", x, inQ)
	x = Open(c)
	reconcileAll(x, []Pack{p, missing(q)})
	want("opened while the other is missing", x, inP)

	x = Open(c)
	reconcileAll(x, []Pack{missing(p), missing(q)})
	third, table, _ := make2()
	x.AddPack(missing(third), table)
	if !x.Claim(id) || x.Claim(id) {
		t.Error("a chunk in no pack must be granted exactly once")
	}
	x.AddPack(q, qtable)
	want("the run's pack comes back", x, inQ)
	if err := x.Merge(context.Background(), c); err != nil {
		t.Fatal(err)
	}
	want("merged again", x, inQ)
}

// TestUnfit checks that a record never truncates a value that does not fit.
func TestUnfit(t *testing.T) {
	sizes := []uint32{0, 1, 1<<24 - 1, 1 << 24, 1<<24 + 1, 1<<32 - 1}
	x, table := new(Index), &pack.Table{}
	for i, n := range sizes {
		table.Frames = append(table.Frames, pack.Frame{Kind: chunk.Data, Chunks: 2, Sealed: 50, Raw: n})
		table.Chunks = append(table.Chunks, pack.Ref{ID: chunk.ID{1, byte(i)}, Len: n}, pack.Ref{ID: chunk.ID{2, byte(i)}, Len: 7})
	}
	p := Pack{ID: pack.FileID{9}, Size: 4096}
	x.AddPack(p, table)
	ids, at := locations(p, table)
	for range 2 {
		for i, id := range ids {
			if got, ok := x.Lookup(id); !ok || got != at[i] {
				t.Errorf("%v is at %+v (%v), want %+v", id, got, ok, at[i])
			}
		}
		if err := x.Merge(context.Background(), new(Cache)); err != nil {
			t.Fatal(err)
		}
	}
	// Lengths 0, 2^24+1 and 2^32−1, and starts from 2^24 on, stay outside the run.
	if x.Stored() != 6 || x.Recent() != 6 {
		t.Errorf("%d in the run, %d outside it", x.Stored(), x.Recent())
	}
}

// TestSortPlaces compares the counting sort with a plain sort.
func TestSortPlaces(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 9))
	for _, n := range []int{0, 1, 100, 4096, 20_000} {
		for _, spread := range []uint64{1, 7, 1 << 40, 1 << 55} {
			places := make([]place, n)
			for i := range places {
				places[i] = place{7<<56 | r.Uint64N(spread), r.Uint64N(3), r.Uint32N(3), r.Uint32N(2), 1}
			}
			want := slices.Clone(places)
			slices.SortFunc(want, comparePlaces)
			if !slices.Equal(sortPlaces(places), want) {
				t.Errorf("%d places, spread %d: not sorted", n, spread)
			}
		}
	}
}

// TestMergeBesides has workers claim, look up and add packs while Merge runs.
func TestMergeBesides(t *testing.T) {
	const workers, perWorker = 4, 60
	x, packs, all := merged(t, new(Cache), 6, 50)
	c := &Cache{Folder: t.TempDir()}
	claims := chunk.ID{5, 5, 5}
	var granted, mergers sync.WaitGroup
	var grants [workers * perWorker]int
	var mu sync.Mutex
	added := map[chunk.ID]Location{}
	stop := make(chan struct{})
	mergers.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if err := x.Merge(context.Background(), c); err != nil {
				t.Error(err)
			}
		}
	})
	for w := range workers {
		granted.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 8))
			for i := range perWorker {
				id := claims
				id[3] = byte(i)
				if x.Claim(id) {
					mu.Lock()
					grants[i]++
					mu.Unlock()
				}
				p, table := packOf(r, []chunk.ID{chunk.ID(randomPackID(r)), chunk.ID(randomPackID(r))})
				x.AddPack(p, table)
				ids, at := locations(p, table)
				for j, id := range ids {
					if got, ok := x.Lookup(id); !ok || got != at[j] {
						t.Errorf("%v is at %+v (%v), want %+v", id, got, ok, at[j])
					}
				}
				mu.Lock()
				added[ids[0]], packs = at[0], append(packs, p)
				mu.Unlock()
				for id, want := range all {
					if got, ok := x.Lookup(id); !ok || got != want || x.Claim(id) {
						t.Errorf("%v is at %+v (%v), want %+v", id, got, ok, want)
					}
					break
				}
			}
		})
	}
	granted.Wait()
	close(stop)
	mergers.Wait()
	for i := range perWorker {
		if grants[i] != 1 {
			t.Errorf("claim %d was granted %d times", i, grants[i])
		}
	}
	if err := x.Merge(context.Background(), c); err != nil {
		t.Fatal(err)
	}
	wantAll(t, x, all)
	wantAll(t, x, added)
	if x.Recent() != perWorker {
		t.Errorf("%d outside the run, want the %d claims", x.Recent(), perWorker)
	}
}

// TestMergeWithoutAFolder checks that Merge works if nothing can be written.
func TestMergeWithoutAFolder(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none")
	t.Setenv("TMPDIR", none)
	t.Setenv("TMP", none)
	c := &Cache{Folder: filepath.Join(none, "cache")}
	x, _, all := merged(t, c, 7, 20)
	wantAll(t, x, all)
	if x.Stored() != len(all) || Open(c).Stored() != 0 {
		t.Errorf("%d of %d chunks in the run", x.Stored(), len(all))
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := x.Merge(ctx, c); err == nil {
		t.Error("a cancelled Merge returns no error")
	}
	wantAll(t, x, all)
}
