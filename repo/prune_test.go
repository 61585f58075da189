package repo

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"platter/chunk"
	"platter/pack"
	"platter/repo/layout"
	"platter/repo/store"
	"platter/repo/store/storetest"
)

// keep saves chunks as a snapshot, in the current repository.
func keep(ctx context.Context, r *Repo, chunks [][]byte) (id pack.FileID, kept []saved, err error) {
	err = r.WithLease(ctx, BackingUp, func(ctx context.Context) error {
		if err := r.LoadIndex(ctx); err != nil {
			return err
		}
		if _, err := r.Adopt(ctx); err != nil {
			return err
		}
		var s modelSnapshot
		if kept, _, err = save(ctx, r, chunks); err != nil {
			return err
		}
		for _, c := range kept {
			s.Chunks = append(s.Chunks, c.id)
		}
		data, err := json.Marshal(s)
		if err != nil {
			return err
		}
		id, err = r.PutSnapshot(ctx, data)
		return err
	})
	return id, kept, err
}

// keepChunks is keep, which must succeed.
func keepChunks(t testing.TB, r *Repo, chunks [][]byte) pack.FileID {
	t.Helper()
	id, _, err := keep(context.Background(), r, chunks)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// keepForgotten makes a repository whose only snapshot was forgotten, so that a prune has work.
func keepForgotten(t testing.TB, mem *store.Mem, chunks [][]byte) {
	t.Helper()
	testRepo(t, mem)
	id := keepChunks(t, reopen(t, mem), chunks)
	if _, err := reopen(t, mem).Forget(context.Background(), []pack.FileID{id}); err != nil {
		t.Fatal(err)
	}
}

// wantSnapshots checks that the repository has exactly these snapshots, and that they can be read.
func wantSnapshots(t testing.TB, s store.Store, want ...pack.FileID) {
	t.Helper()
	ctx := context.Background()
	r := reopen(t, s)
	got, err := r.ListSnapshots(ctx)
	byBytes := func(a, b pack.FileID) int { return slices.Compare(a[:], b[:]) }
	slices.SortFunc(got, byBytes)
	slices.SortFunc(want, byBytes)
	if err != nil || !slices.Equal(got, want) {
		t.Fatalf("snapshots %v, %v; want %v", got, err, want)
	}
	for _, id := range want {
		chunks, err := chunksOf(ctx, r, id)
		for _, c := range chunks {
			kind := chunk.Data
			if loc, ok := r.view().index.Lookup(c); ok {
				kind = loc.Frame.Kind
			}
			err = errors.Join(err, r.Load(ctx, kind, []chunk.ID{c}, func(int, []byte) error { return nil }))
		}
		if err != nil {
			t.Fatalf("snapshot %.8s: %v", id, err)
		}
	}
	report, err := r.Check(ctx, CheckOptions{ReadData: true}, nil)
	if err != nil || len(report.Damage) > 0 {
		t.Fatalf("check: %v, %q", err, report.Damage)
	}
}

func mustPrune(t testing.TB, r *Repo, o PruneOptions) *Pruned {
	t.Helper()
	if o.MaxRepack == 0 {
		o.MaxRepack = 1 << 40
	}
	done, err := r.Prune(context.Background(), o, markModel(r), nil)
	if err != nil {
		t.Fatal(err)
	}
	return done
}

// saveTwice saves chunks even if they are stored already.
func saveTwice(t testing.TB, r *Repo, chunks [][]byte) {
	t.Helper()
	err := r.WithLease(context.Background(), BackingUp, func(ctx context.Context) error {
		for _, p := range r.view().index.Packs() {
			r.view().index.Suspend([]pack.FileID{p.ID})
		}
		_, _, err := save(ctx, r, chunks)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// manySnapshots makes snapshots of random chunks from a few. Some chunks are in several packs.
func manySnapshots(t testing.TB, seed uint64) (*store.Mem, []pack.FileID) {
	rnd := rand.New(rand.NewPCG(seed, 2))
	mem := new(store.Mem)
	testRepo(t, mem)
	universe := noiseChunks(byte(seed), 60, 50000)
	var ids []pack.FileID
	for range 6 {
		var some [][]byte
		for _, n := range rnd.Perm(len(universe))[:5+rnd.IntN(30)] {
			some = append(some, universe[n])
		}
		ids = append(ids, keepChunks(t, reopen(t, mem), some))
		if rnd.IntN(2) == 0 { // as two concurrent backups leave it
			saveTwice(t, reopen(t, mem), some[:3])
		}
	}
	return mem, ids
}

// TestPrune forgets some snapshots of a repository whose chunks are spread over packs in all ways. The others stay
// whole, and nothing unneeded is left.
func TestPrune(t *testing.T) {
	for seed := range uint64(12) {
		mem, ids := manySnapshots(t, seed)
		gone := int(seed) % (len(ids) + 1)
		openDry := func() *Repo {
			t.Helper()
			dry, err := Open(context.Background(), store.DryRun{Store: mem}, []byte("pw"))
			if err != nil {
				t.Fatal(err)
			}
			return dry
		}
		asIf := mustPrune(t, openDry(), PruneOptions{Without: ids[:gone]})
		if _, err := reopen(t, mem).Forget(context.Background(), ids[:gone]); err != nil {
			t.Fatal(err)
		}
		before := storetest.Files(t, mem)
		foretold := mustPrune(t, openDry(), PruneOptions{})
		if !reflect.DeepEqual(asIf, foretold) {
			t.Errorf("seed %d: %+v before %d were forgotten, and %+v after it", seed, asIf, gone, foretold)
		}
		if !maps.EqualFunc(before, storetest.Files(t, mem), slices.Equal) {
			t.Fatalf("seed %d: a dry run changes something", seed)
		}
		done := mustPrune(t, reopen(t, mem), PruneOptions{})
		wantSnapshots(t, mem, ids[gone:]...)
		if done.Unused != 0 || done.Pending.Packs != 0 || done.Deleted != foretold.Deleted || done.Repacked != foretold.Repacked {
			t.Errorf("seed %d: %+v; foretold %+v", seed, done, foretold)
		}
		if gone == len(ids) && done.After.Packs != 0 {
			t.Errorf("seed %d: %d packs without a snapshot", seed, done.After.Packs)
		}
		if again := mustPrune(t, reopen(t, mem), PruneOptions{}); again.Deleted.Packs > 0 || again.Before != done.After {
			t.Errorf("seed %d: the second prune %+v after %+v", seed, again, done)
		}
		if n := countIn(t, mem, layout.Work) + countIn(t, mem, layout.Pending); n > 0 {
			t.Errorf("seed %d: %d files of work are left", seed, n)
		}
	}
}

// TestPruneLimits checks that a prune copies no more than its limit.
func TestPruneLimits(t *testing.T) {
	for _, o := range []PruneOptions{{MaxUnused: 1}, {MaxRepack: 1}, {MaxUnused: 0.3}, {MaxRepack: 1 << 20}} {
		mem, ids := manySnapshots(t, 3)
		r := reopen(t, mem)
		if _, err := r.Forget(context.Background(), ids[1:]); err != nil {
			t.Fatal(err)
		}
		done := mustPrune(t, r, o)
		switch {
		case o.MaxRepack == 1 && done.Copied > 0:
			t.Errorf("%+v: %d bytes copied", o, done.Copied)
		case o.MaxRepack > 1 && done.Copied > o.MaxRepack+o.MaxRepack/2:
			t.Errorf("%+v: %d bytes copied", o, done.Copied)
		case o.MaxUnused > 0 && o.MaxRepack == 0 && float64(done.Unused) > o.MaxUnused*float64(done.After.Bytes):
			t.Errorf("%+v: %d of %d bytes are unused", o, done.Unused, done.After.Bytes)
		}
		wantSnapshots(t, mem, ids[0])
	}
}

// TestPruneBesideBackup checks that packs stay that a process at work may build on, until it ends. A process that
// starts after the marker builds on none of them, and the next prune deletes them.
func TestPruneBesideBackup(t *testing.T) {
	ctx := context.Background()
	mem := new(store.Mem)
	chunks := noiseChunks(1, 30, 50000)
	keepForgotten(t, mem, chunks)
	packs := countIn(t, mem, layout.Packs)
	var late pack.FileID
	err := reopen(t, mem).WithLease(ctx, BackingUp, func(context.Context) error {
		done := mustPrune(t, reopen(t, mem), PruneOptions{})
		if done.Deleted.Packs != 0 || done.Pending.Packs != packs || len(done.AtWork) != 1 || done.AtWork[0].Work != BackingUp {
			t.Errorf("beside a backup: %+v", done)
		}
		late = keepChunks(t, reopen(t, mem), chunks)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := countIn(t, mem, layout.Packs); n <= packs {
		t.Errorf("a backup that knows of the marker leaves %d packs of %d before it", n, packs)
	}
	done := mustPrune(t, reopen(t, mem), PruneOptions{})
	if done.Deleted.Packs != packs || countIn(t, mem, layout.Work) > 0 {
		t.Errorf("after it: %+v, %d files of work", done, countIn(t, mem, layout.Work))
	}
	wantSnapshots(t, mem, late)
}

// TestPruneGoesOnBesideWhoKnows checks that a backup that has acknowledged a marker does not delay the deletion,
// however long it runs.
func TestPruneGoesOnBesideWhoKnows(t *testing.T) {
	ctx := t.Context()
	mem := new(store.Mem)
	chunks := noiseChunks(1, 30, 50000)
	keepForgotten(t, mem, chunks)
	packs := countIn(t, mem, layout.Packs)
	err := reopen(t, mem).WithLease(ctx, BackingUp, func(context.Context) error {
		mustPrune(t, reopen(t, mem), PruneOptions{})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var second pack.FileID
	r := reopen(t, mem)
	err = r.WithLease(ctx, BackingUp, func(context.Context) error {
		if done := mustPrune(t, reopen(t, mem), PruneOptions{}); done.Deleted.Packs != packs || len(done.AtWork) > 0 {
			t.Errorf("beside a backup that knows of the marker: %+v", done)
		}
		second = keepChunks(t, r, chunks)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	wantSnapshots(t, mem, second)
}

// TestPruneBesideLatecomer starts a backup after a prune has looked at leases and snapshots, and before it puts its
// marker. What the backup builds on stays, whether it has ended when the marker is put or is still at work.
func TestPruneBesideLatecomer(t *testing.T) {
	for _, ended := range []bool{true, false} {
		ctx := t.Context()
		mem := new(store.Mem)
		chunks := noiseChunks(1, 30, 50000)
		keepForgotten(t, mem, chunks)
		late, second, puts := reopen(t, mem), pack.FileID{}, 0
		r := reopen(t, mem)
		r.setStore(storetest.Watch(mem, func(op, name string) {
			if op != "put" || layout.Dir(name) != layout.Work {
				return
			}
			if puts++; puts != 2 { // the first put is the lease, the second the marker
				return
			}
			if err := late.leases.Acquire(ctx, BackingUp); err != nil {
				t.Fatal(err)
			}
			if ended {
				second = keepChunks(t, late, chunks)
				late.leases.Release(ctx)
			}
		}))
		if done := mustPrune(t, r, PruneOptions{}); done.Deleted.Packs > 0 || puts < 2 {
			t.Errorf("ended %t: %+v, %d files of work", ended, done, puts)
		}
		if !ended {
			second = keepChunks(t, late, chunks)
			late.leases.Release(ctx)
		}
		wantSnapshots(t, mem, second)
	}
}

// TestPruneRescues checks that condemned packs stay if a process that did not know of the marker needs them after all.
func TestPruneRescues(t *testing.T) {
	ctx := context.Background()
	mem := new(store.Mem)
	testRepo(t, mem)
	chunks := noiseChunks(1, 30, 50000)
	first := keepChunks(t, reopen(t, mem), chunks)
	var second pack.FileID
	r := reopen(t, mem)
	err := r.WithLease(ctx, BackingUp, func(context.Context) error {
		if _, err := reopen(t, mem).Forget(ctx, []pack.FileID{first}); err != nil {
			t.Fatal(err)
		}
		if done := mustPrune(t, reopen(t, mem), PruneOptions{}); done.Pending.Packs == 0 {
			t.Errorf("beside a backup: %+v", done)
		}
		second = keepChunks(t, r, chunks) // under the lease that has not acknowledged the marker
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if done := mustPrune(t, reopen(t, mem), PruneOptions{}); done.Deleted.Packs != 0 || countIn(t, mem, layout.Work) != 0 {
		t.Errorf("after it: %+v, %d files of work", done, countIn(t, mem, layout.Work))
	}
	wantSnapshots(t, mem, second)
}

// TestPruneWaitsForListings checks how long a prune waits if listings lag, and that its marker outlives it.
func TestPruneWaitsForListings(t *testing.T) {
	ctx := context.Background()
	mem := new(store.Mem)
	keepForgotten(t, mem, noiseChunks(1, 30, 50000))
	var waited []time.Duration
	o := PruneOptions{Lag: time.Minute, Wait: func(_ context.Context, d time.Duration) error {
		waited = append(waited, d)
		return nil
	}}
	done := mustPrune(t, reopen(t, mem), o)
	if !slices.Equal(waited, []time.Duration{2 * time.Minute, time.Minute}) || done.After.Packs != 0 || countIn(t, mem, layout.Work) != 1 {
		t.Errorf("waited %v; %+v; %d files of work", waited, done, countIn(t, mem, layout.Work))
	}
	if mustPrune(t, reopen(t, mem), o); countIn(t, mem, layout.Work) != 0 {
		t.Error("the next prune leaves the marker")
	}
	o.Wait = func(context.Context, time.Duration) error { return errBroken }
	again := reopen(t, mem)
	if _, err := again.Prune(ctx, o, markModel(again), nil); !errors.Is(err, errBroken) {
		t.Errorf("interrupted: %v", err)
	}
}

// TestPruneAfterOlderPlatter checks that the first prune after writers without leases only puts markers.
func TestPruneAfterOlderPlatter(t *testing.T) {
	ctx := context.Background()
	mem := new(store.Mem)
	x := testRepo(t, mem)
	first := keepChunks(t, reopen(t, mem), noiseChunks(1, 30, 50000))
	if _, err := reopen(t, mem).Forget(ctx, []pack.FileID{first}); err != nil {
		t.Fatal(err)
	}
	if err := dropFeatures(x); err != nil {
		t.Fatal(err)
	}
	if done := mustPrune(t, reopen(t, mem), PruneOptions{}); !done.Upgraded || done.Deleted.Packs > 0 || done.Pending.Packs == 0 {
		t.Errorf("the first: %+v", done)
	}
	if done := mustPrune(t, reopen(t, mem), PruneOptions{}); done.Upgraded || done.Deleted.Packs == 0 || done.After.Packs > 0 {
		t.Errorf("the second: %+v", done)
	}
}

// TestPruneAlone checks that two prunes never work at once, unless one of them is dead.
func TestPruneAlone(t *testing.T) {
	ctx := context.Background()
	mem, ids := manySnapshots(t, 1)
	err := reopen(t, mem).WithLease(ctx, Pruning, func(context.Context) error {
		r := reopen(t, mem)
		if _, err := r.Prune(ctx, PruneOptions{}, markModel(r), nil); !errors.Is(err, ErrInUse) {
			t.Errorf("beside a prune: %v", err)
		}
		if _, err := r.RepairIndex(ctx, nil); !errors.Is(err, ErrInUse) {
			t.Errorf("repair beside a prune: %v", err)
		}
		r = reopen(t, mem)
		r.isDead = everybody
		mustPrune(t, r, PruneOptions{})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	wantSnapshots(t, mem, ids...)
}

// TestLostLease checks that a snapshot is not committed without its lease, whenever the lease is deleted.
func TestLostLease(t *testing.T) {
	ctx := context.Background()
	for _, what := range []string{"lease", "pending"} {
		mem := new(store.Mem)
		testRepo(t, mem)
		r := reopen(t, mem)
		r.setStore(storetest.Watch(mem, func(op, name string) {
			if what == "lease" && op == "put" && layout.Dir(name) == layout.Pending || what == "pending" && op == "move" {
				_ = mem.Delete(ctx, layout.Name(layout.Work, heldID(r)))
				_ = mem.Delete(ctx, layout.Name(layout.Pending, heldID(r)))
			}
		}))
		if _, err := putSnapshot(ctx, r, []byte("{}")); !errors.Is(err, ErrLeaseLost) {
			t.Errorf("%s gone: %v", what, err)
		}
		if n := countIn(t, mem, layout.Snapshots) + countIn(t, mem, layout.Pending); n > 0 {
			t.Errorf("%s gone: %d files are left", what, n)
		}
	}
}
