package repo

import (
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"platter/chunk"
	"platter/repo/layout"
	"platter/repo/store"
	"platter/repo/store/storetest"
)

// reopenCached opens a repository with a cache that makes a run of even the smallest index.
func reopenCached(t testing.TB, s store.Store, folder string) *Repo {
	t.Helper()
	r, err := Open(context.Background(), s, []byte("pw"))
	if err != nil {
		t.Fatal(err)
	}
	r.minRun = 1
	r.UseCache(folder)
	if err := r.LoadIndex(context.Background()); err != nil {
		t.Fatal(err)
	}
	return r
}

// filesBelow returns the paths of all files below a folder.
func filesBelow(t testing.TB, folder string) (paths []string) {
	t.Helper()
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// TestCacheSaysTheSame runs random histories of a repository, with a new cache, with an old one and with none. Every
// time, the index must know the same packs and find the same chunks. The chunks must load alike.
func TestCacheSaysTheSame(t *testing.T) {
	ctx := context.Background()
	steps := 40
	if testing.Short() {
		steps = 15
	}
	for seed := range uint64(3) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		mem, folder := new(store.Mem), t.TempDir()
		testRepo(t, mem)
		var all []saved
		lost := map[string][]byte{}
		for step := range steps {
			var did string
			switch n := rnd.IntN(8); n {
			case 0, 1, 2:
				did = "write"
				r := reopen(t, mem)
				if n > 0 {
					r = reopenCached(t, mem, folder)
				}
				chunks := noiseChunks(byte(rnd.IntN(12)), 1+rnd.IntN(30), 6000)
				out, _, err := save(ctx, r, chunks)
				if err != nil {
					t.Fatal(err)
				}
				wantLoads(t, r, out)
				all = append(all, out...)
			case 3, 4:
				did = "lose a file"
				files := storetest.Files(t, mem)
				for name := range files {
					if dir := layout.Dir(name); (dir == layout.Packs || dir == layout.Index && n == 3) && rnd.IntN(len(files)) == 0 {
						lost[name] = files[name]
						if err := mem.Delete(ctx, name); err != nil {
							t.Fatal(err)
						}
					}
				}
			case 5:
				did = "put files back"
				for name, data := range lost {
					if err := mem.Put(ctx, name, data); err != nil {
						t.Fatal(err)
					}
				}
				clear(lost)
			case 6:
				did = "repair"
				if _, err := reopenCached(t, mem, folder).RepairIndex(ctx, nil); err != nil {
					t.Fatal(err)
				}
			default:
				did = "adopt"
				if _, err := reopenCached(t, mem, folder).Adopt(ctx); err != nil {
					t.Fatal(err)
				}
			}
			wantAlike(t, fmt.Sprintf("seed %d, step %d, %s", seed, step, did), all, reopenCached(t, mem, folder), reopen(t, mem))
		}
	}
}

// wantAlike checks that two openings of one repository find the same.
func wantAlike(t *testing.T, what string, all []saved, a, b *Repo) {
	t.Helper()
	packs := func(r *Repo) (out []string) {
		for _, p := range r.Index().Packs() {
			out = append(out, fmt.Sprint(p))
		}
		slices.Sort(out)
		return out
	}
	if !slices.Equal(packs(a), packs(b)) {
		t.Fatalf("%s: with a cache these packs\n%v, without one\n%v", what, packs(a), packs(b))
	}
	orphans := func(r *Repo) (out []string) {
		for _, o := range r.view().adoptable {
			out = append(out, o.ID.String())
		}
		slices.Sort(out)
		return out
	}
	if !slices.Equal(orphans(a), orphans(b)) {
		t.Fatalf("%s: with a cache these packs in no index\n%v, without one\n%v", what, orphans(a), orphans(b))
	}
	for i, c := range all {
		_, inA := a.Index().Lookup(c.id)
		_, inB := b.Index().Lookup(c.id)
		var errA, errB error
		if i%(1+len(all)/40) == 0 {
			errA, errB = loadOne(a, c), loadOne(b, c)
		}
		if inA != inB || (errA == nil) != (errB == nil) {
			t.Fatalf("%s: chunk %v: found %v and %v, loads as %v and %v", what, c.id, inA, inB, errA, errB)
		}
	}
}

// TestWarmOpening checks that a second opening requests from the store only what the cache cannot know.
func TestWarmOpening(t *testing.T) {
	ctx := context.Background()
	x := newSample(t)
	s, folder := &storetest.Faulty{Store: storetest.MemOf(t, x.files)}, t.TempDir()
	for _, run := range []bool{false, true} { // first with copies, then with a run
		for _, first := range []bool{true, false} {
			var mu sync.Mutex
			var asked []string
			s.Fail = func(op, name string) error {
				mu.Lock()
				defer mu.Unlock()
				if dir := layout.Dir(name); dir != layout.Config && dir != layout.Keys {
					asked = append(asked, op+" "+dir)
				}
				return nil
			}
			r, err := Open(ctx, s, []byte("pw"))
			if err != nil {
				t.Fatal(err)
			}
			if run {
				r.minRun = 1
			}
			r.UseCache(folder)
			ids, err := r.ListSnapshots(ctx)
			if err != nil {
				t.Fatal(err)
			}
			for _, id := range ids {
				if _, err := r.GetSnapshot(ctx, id); err != nil {
					t.Fatal(err)
				}
			}
			if err := r.LoadIndex(ctx); err != nil {
				t.Fatal(err)
			}
			want := []string{"list snapshots", "list packs", "list index", "list work"}
			if got := slices.DeleteFunc(slices.Clone(asked), func(a string) bool { return strings.HasPrefix(a, "get") }); !slices.Equal(got, want) {
				t.Errorf("it asked %q", got)
			}
			if (len(asked) == len(want)) == (first && !run) {
				t.Errorf("run %v, first %v: it asked %q", run, first, asked)
			}
			if got := r.Index().Stored() > 0; got != run {
				t.Errorf("it has a run: %v", got)
			}
			wantLoads(t, r, x.chunks)
		}
	}
	info, err := os.Stat(folder)
	if err != nil || len(filesBelow(t, folder)) != 4 {
		t.Errorf("%v: %v, %v", filesBelow(t, folder), info, err)
	}
	for _, path := range filesBelow(t, folder) {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v, %v: others may read it", path, info.Mode(), err)
		}
	}
}

// TestCacheDamaged changes each file of a cache in many ways, and deletes it. No command may notice.
func TestCacheDamaged(t *testing.T) {
	x := newSample(t)
	mem := storetest.MemOf(t, x.files)
	folder := t.TempDir()
	reopenCached(t, mem, folder)
	mustSave(t, reopenCached(t, mem, folder), noiseChunks(40, 4, 1000)) // an index file that the run does not cover
	for _, path := range filesBelow(t, folder) {
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if len(whole) == 0 {
			continue
		}
		bad := [][]byte{{}, whole[:len(whole)/2], whole[1:], append(slices.Clone(whole), 0)}
		for i := range 40 {
			flipped := slices.Clone(whole)
			flipped[i*(len(whole)-1)/39] ^= 1
			bad = append(bad, flipped)
		}
		for i, data := range bad {
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
			r := reopenCached(t, mem, folder)
			wantAlike(t, fmt.Sprintf("%s, damage %d", filepath.Base(path), i), x.chunks, r, reopen(t, mem))
			wantLoads(t, r, x.chunks)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(path, 0o700); err != nil { // a folder instead
			t.Fatal(err)
		}
		wantLoads(t, reopenCached(t, mem, folder), x.chunks)
		if err := os.RemoveAll(folder); err != nil {
			t.Fatal(err)
		}
		wantLoads(t, reopenCached(t, mem, folder), x.chunks)
	}
	if err := os.WriteFile(filepath.Join(folder, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r := reopenCached(t, mem, filepath.Join(folder, "file"))
	wantLoads(t, r, x.chunks)
	mustSave(t, r, noiseChunks(41, 4, 1000))
}

// TestCheckBelievesNoCache checks that check and repair find damage in the store that a cache hides.
func TestCheckBelievesNoCache(t *testing.T) {
	ctx := context.Background()
	x := newSample(t)
	mem, folder := storetest.MemOf(t, x.files), t.TempDir()
	reopenCached(t, mem, folder)
	name := x.in(layout.Index)[0]
	bad := slices.Clone(x.files[name])
	bad[100] ^= 1
	if err := mem.Put(ctx, name, bad); err != nil {
		t.Fatal(err)
	}
	wantLoads(t, reopenCached(t, mem, folder), x.chunks)
	report, err := reopenCached(t, mem, folder).Check(ctx, CheckOptions{}, nil)
	if err != nil || !lists(report, name) {
		t.Errorf("%v, %q", err, report.Damage)
	}
	done, err := reopenCached(t, mem, folder).RepairIndex(ctx, nil)
	if err != nil || len(done.Unreadable) != 1 {
		t.Errorf("%+v, %v", done, err)
	}
	wantLoads(t, reopenCached(t, mem, folder), x.chunks)
}

// TestDryRunLeavesNoCache checks that the cache does not hold what a dry run did not store.
func TestDryRunLeavesNoCache(t *testing.T) {
	ctx := context.Background()
	x := newSample(t)
	mem, folder := storetest.MemOf(t, x.files), t.TempDir()
	reopenCached(t, mem, folder)
	before := filesBelow(t, folder)
	sizes := func() (n int64) {
		for _, path := range filesBelow(t, folder) {
			if info, err := os.Stat(path); err == nil {
				n += info.Size()
			}
		}
		return n
	}
	size := sizes()
	r, err := Open(ctx, store.DryRun{Store: mem}, []byte("pw"))
	if err != nil {
		t.Fatal(err)
	}
	r.UseCache(folder)
	if err := r.LoadIndex(ctx); err != nil {
		t.Fatal(err)
	}
	mustSave(t, r, noiseChunks(50, 30, 60000))
	if _, err := putSnapshot(ctx, r, []byte("{}")); err != nil {
		t.Fatal(err)
	}
	if after := filesBelow(t, folder); !slices.Equal(after, before) || sizes() != size {
		t.Errorf("a dry run leaves %v of %d bytes, before it was %v of %d", after, sizes(), before, size)
	}
	if n := len(storetest.Files(t, mem)); n != len(x.files) {
		t.Errorf("%d files, want %d", n, len(x.files))
	}
	if err := r.mergeRun(ctx, r.Index()); err != nil {
		t.Fatal(err)
	}
	if after := filesBelow(t, folder); !slices.Equal(after, before) || sizes() != size {
		t.Errorf("a dry run's index goes to the cache: %v", after)
	}
}

// TestRunsWhileWriting checks that a large backup turns its index into runs as it goes, and finds its chunks there.
func TestRunsWhileWriting(t *testing.T) {
	ctx := context.Background()
	for _, cached := range []bool{true, false} {
		mem, folder := new(store.Mem), t.TempDir()
		testRepo(t, mem)
		r := reopen(t, mem)
		if cached {
			r = reopenCached(t, mem, folder)
		}
		r.maxRecent = 1
		r.config.FrameSize, r.config.PackSize = 8<<10, 16<<10 // larger ones take time, and show no more
		chunks := noiseChunks(60, 2*packsPerIndex+10, 15<<10) // one pack each
		out, stats, err := save(ctx, r, append(chunks, chunks...))
		if err != nil {
			t.Fatal(err)
		}
		different := map[chunk.ID]bool{}
		for _, c := range out {
			different[c.id] = true
		}
		if int(stats.Chunks.Load()) != len(different) {
			t.Errorf("%d chunks were stored, of %d", stats.Chunks.Load(), len(different))
		}
		if n := r.Index().Stored(); n < packsPerIndex {
			t.Errorf("%d chunks in the run", n)
		}
		some := slices.DeleteFunc(out, func(c saved) bool { return c.id[0]%8 > 0 })
		wantLoads(t, r, some)
		wantLoads(t, reopen(t, mem), some)
		wantLoads(t, reopenCached(t, mem, folder), some)
		if n := len(reopenCached(t, mem, folder).Index().Packs()); n < packsPerIndex {
			t.Errorf("%d packs", n)
		}
	}
}

// TestForgottenIndexFile checks that nothing relies on a pack that no index file lists, although the cache knows it. A
// process that deletes packs deletes index files first.
func TestForgottenIndexFile(t *testing.T) {
	ctx := context.Background()
	x := newSample(t)
	mem, folder := storetest.MemOf(t, x.files), t.TempDir()
	reopenCached(t, mem, folder)
	for _, name := range x.in(layout.Index) {
		if err := mem.Delete(ctx, name); err != nil {
			t.Fatal(err)
		}
	}
	r := reopenCached(t, mem, folder)
	if n := len(r.Index().Packs()); n != 0 || len(r.view().adoptable) != len(x.in(layout.Packs)) {
		t.Errorf("%d packs are known and %d are in no index", n, len(r.view().adoptable))
	}
	for _, c := range x.chunks {
		if _, ok := r.Index().Lookup(c.id); ok {
			t.Fatal("a chunk is found in a pack that no index file lists")
		}
		if !r.Index().Claim(c.id) {
			t.Fatal("a chunk in a pack that no index file lists would not be stored again")
		}
	}
	r = reopenCached(t, mem, folder)
	if n, err := r.Adopt(ctx); err != nil || n != len(x.in(layout.Packs)) {
		t.Errorf("adopted %d, %v", n, err)
	}
	wantLoads(t, r, x.chunks)
	wantLoads(t, reopenCached(t, mem, folder), x.chunks)
	wantLoads(t, reopen(t, mem), x.chunks)
}
