package repo

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"platter/pack"
	"platter/repo/layout"
	"platter/repo/lease"
	"platter/repo/store"
	"platter/repo/store/storetest"
)

// TestLeaseIsKept checks that a lease stays fresh for as long as the work takes, and that the work ends if the lease is
// deleted.
func TestLeaseIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := &store.Mem{Clock: time.Now}
		testRepo(t, mem)
		r := reopen(t, mem)
		err := r.WithLease(t.Context(), BackingUp, func(ctx context.Context) error {
			time.Sleep(5 * time.Hour)
			files, err := layout.List(ctx, mem, layout.Work)
			if err != nil || len(files) != 1 || time.Since(files[0].Time) > lease.TouchEvery {
				t.Errorf("five hours later: %v, %v", files, err)
			}
			// There is nothing to wait for.
			if done := mustPrune(t, reopen(t, mem), PruneOptions{}); len(done.AtWork) != 0 || ctx.Err() != nil {
				t.Errorf("a prune beside it: %+v, %v", done, ctx.Err())
			}
			if err := mem.Delete(ctx, layout.Name(layout.Work, files[0].ID)); err != nil {
				t.Error(err)
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(2 * lease.TouchEvery):
				t.Error("the work goes on without a lease")
				return nil
			}
		})
		if !errors.Is(err, ErrLeaseLost) {
			t.Errorf("without its lease it ends with %v", err)
		}
	})
}

// TestLeaseAge checks that the age of a lease follows the store's clock, to the minute, whatever the machines' clocks
// say.
func TestLeaseAge(t *testing.T) {
	for _, wrong := range []time.Duration{-1e5 * time.Hour, 0, 1e5 * time.Hour} {
		for age, lives := range map[time.Duration]bool{0: true, lease.ExpiresAfter - time.Minute: true, lease.ExpiresAfter + time.Minute: false} {
			now := time.Now()
			mem := &store.Mem{Clock: func() time.Time { return now }}
			keepForgotten(t, mem, noiseChunks(1, 5, 5000))
			if err := reopen(t, mem).leases.Acquire(t.Context(), BackingUp); err != nil {
				t.Fatal(err)
			}
			now = now.Add(age)
			r := reopen(t, mem)
			r.now, r.isDead = func() time.Time { return time.Now().Add(wrong) }, func(Lease) bool { return false }
			done := mustPrune(t, r, PruneOptions{})
			if (len(done.AtWork) == 1) != lives || (done.Deleted.Packs == 0) != lives {
				t.Errorf("a lease %v old, with a clock that is wrong by %v: %+v", age, wrong, done)
			}
		}
	}
}

// TestPruneEndsTheDead checks the order in which a prune ends the work of a process that may only be asleep. It deletes
// the lease, then the pending file, and only then lists the snapshots again.
func TestPruneEndsTheDead(t *testing.T) {
	ctx := t.Context()
	mem := new(store.Mem)
	testRepo(t, mem)
	asleep := reopen(t, mem)
	if err := asleep.leases.Acquire(ctx, BackingUp); err != nil {
		t.Fatal(err)
	}
	lease, pending := layout.Name(layout.Work, heldID(asleep)), layout.Name(layout.Pending, heldID(asleep))
	if err := mem.Put(ctx, pending, []byte("a snapshot")); err != nil {
		t.Fatal(err)
	}
	var calls []string
	r := reopen(t, mem)
	r.isDead = everybody
	r.setStore(storetest.Watch(mem, func(op, name string) {
		if op == "delete" && (name == lease || name == pending) || op == "list" && (name == layout.Snapshots || name == layout.Pending) {
			calls = append(calls, op+" "+name)
		}
	}))
	mustPrune(t, r, PruneOptions{})
	want := []string{"list snapshots", "list pending", "delete " + lease, "delete " + pending, "list snapshots"}
	if !slices.Equal(calls, want) {
		t.Errorf("%q; want %q", calls, want)
	}
}

// TestPruneWithoutLease deletes a prune's own lease, as a process that takes the prune for dead does. It does so just
// before the prune changes the index, and just before it deletes packs. The prune then does neither.
func TestPruneWithoutLease(t *testing.T) {
	ctx := t.Context()
	for _, when := range []string{"list " + layout.Index, "delete " + layout.Index} {
		mem := new(store.Mem)
		keepForgotten(t, mem, noiseChunks(1, 30, 50000))
		packs, indexes := countIn(t, mem, layout.Packs), countIn(t, mem, layout.Index)
		r, puts := reopen(t, mem), 0
		r.setStore(storetest.Watch(mem, func(op, name string) {
			if op == "put" && layout.Dir(name) == layout.Work {
				puts++
			}
			if puts >= 2 && op+" "+layout.Dir(name) == when { // the lease, and the marker
				_ = mem.Delete(ctx, layout.Name(layout.Work, heldID(r)))
			}
		}))
		_, err := r.Prune(ctx, PruneOptions{}, markModel(r), nil)
		left := countIn(t, mem, layout.Index)
		if !errors.Is(err, ErrLeaseLost) || countIn(t, mem, layout.Packs) != packs || when == "list "+layout.Index && left != indexes {
			t.Errorf("%s: %v; %d packs of %d, %d index files of %d", when, err, countIn(t, mem, layout.Packs), packs, left, indexes)
		}
	}
}

// TestIndexIsOfTheLease checks that nothing builds on an index loaded before the lease: its packs may be deleted.
func TestIndexIsOfTheLease(t *testing.T) {
	mem := new(store.Mem)
	chunks := noiseChunks(1, 30, 50000)
	mustSave(t, testRepo(t, mem), chunks)
	r := reopen(t, mem)
	if done := mustPrune(t, reopen(t, mem), PruneOptions{Sure: true}); done.After.Packs > 0 {
		t.Fatalf("%+v", done)
	}
	kept := mustSave(t, r, chunks)
	wantLoads(t, reopen(t, mem), kept)
}

// TestPruneClearsAway checks that an unreadable file in the work directory counts as the lease of a live process until
// it is old enough to expire. Files that no process can commit any more are deleted.
func TestPruneClearsAway(t *testing.T) {
	now := time.Now()
	mem := &store.Mem{Clock: func() time.Time { return now }}
	keepForgotten(t, mem, noiseChunks(1, 5, 5000))
	for _, name := range []string{layout.Name(layout.Work, pack.FileID{1}), layout.Name(layout.Pending, pack.FileID{2})} {
		if err := mem.Put(t.Context(), name, []byte("garbage")); err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range []struct {
		later         time.Duration
		atWork, files int // of leases and markers
	}{{0, 1, 2}, {lease.ExpiresAfter - time.Minute, 1, 2}, {2 * time.Minute, 0, 0}} {
		now = now.Add(step.later)
		done := mustPrune(t, reopen(t, mem), PruneOptions{})
		if len(done.AtWork) != step.atWork || (done.After.Packs == 0) != (step.atWork == 0) || countIn(t, mem, layout.Work) != step.files || countIn(t, mem, layout.Pending) > 0 {
			t.Errorf("%v later: %+v; %d files of work, %d pending", step.later, done, countIn(t, mem, layout.Work), countIn(t, mem, layout.Pending))
		}
	}
}
