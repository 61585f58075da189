package repo

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"platter/pack"
	"platter/repo/layout"
	"platter/repo/store"
	"platter/repo/store/storetest"
)

// keepAfter saves chunks as a snapshot that names another as the version before it.
func keepAfter(t testing.TB, mem store.Store, chunks [][]byte, before pack.FileID) (id pack.FileID) {
	t.Helper()
	r := reopen(t, mem)
	err := r.WithLease(t.Context(), BackingUp, func(ctx context.Context) error {
		if err := r.LoadIndex(ctx); err != nil {
			return err
		}
		kept, _, err := save(ctx, r, chunks)
		if err != nil {
			return err
		}
		s := modelSnapshot{Before: &before}
		for _, c := range kept {
			s.Chunks = append(s.Chunks, c.id)
		}
		data, err := json.Marshal(s)
		if err == nil {
			id, err = r.PutSnapshot(ctx, data)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// lose removes snapshots' files, and returns a function that puts them back.
func lose(t testing.TB, mem *store.Mem, ids ...pack.FileID) (back func()) {
	t.Helper()
	var names []string
	for _, id := range ids {
		names = append(names, SnapshotName(id))
	}
	return storetest.Remove(t, mem, names...)
}

// TestPruneAccountsForSnapshots loses snapshot files in several ways. A prune that could notice deletes nothing, so
// that everything is whole once they are back. A prune that accepts the loss does its work.
func TestPruneAccountsForSnapshots(t *testing.T) {
	now := time.Now()
	for name, test := range map[string]struct {
		remember bool
		lost     []int         // which of three versions, each made after the one before
		forget   []int         // versions forgotten before that
		later    time.Duration // how much later the prune runs
		refused  bool
		seen     int // snapshots that the error names as seen
		before   int
		packs    bool // the error counts packs
		accept   bool // then a prune works; otherwise a sure one does
	}{
		"one that was seen":                  {remember: true, lost: []int{2}, refused: true, seen: 1, accept: true},
		"one that was seen, and others name": {remember: true, lost: []int{0}, refused: true, seen: 1, accept: true},
		"all, seen":                          {remember: true, lost: []int{0, 1, 2}, refused: true, seen: 3, accept: true},
		"all, seen, one forgotten":           {remember: true, lost: []int{1, 2}, forget: []int{0}, refused: true, seen: 2, accept: true},
		"all":                                {lost: []int{0, 1, 2}, refused: true},
		"all that were left":                 {lost: []int{0, 2}, forget: []int{1}, refused: true},
		"one that another names":             {lost: []int{1}, refused: true, before: 1},
		"two, and another names one":         {lost: []int{0, 1}, refused: true, before: 1},
		"one that another named long ago":    {lost: []int{1}, later: 2 * recordsKept},
		"the latest, which is known nowhere": {lost: []int{2}},
		"the latest two, half of everything": {lost: []int{1, 2}, refused: true, packs: true},
		"the same, something was forgotten":  {lost: []int{2}, forget: []int{0}},
		"none, all forgotten":                {forget: []int{0, 1, 2}},
		"none, all seen and forgotten":       {remember: true, forget: []int{0, 1, 2}},
		"none, one named and forgotten":      {forget: []int{1}},
		"one seen, which another names":      {remember: true, lost: []int{2}, forget: []int{1}, refused: true, seen: 1, accept: true},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			mem := new(store.Mem)
			testRepo(t, mem)
			memory := t.TempDir()
			open := func() *Repo {
				r := reopen(t, mem)
				if test.remember {
					r.UseMemory(memory)
				}
				r.now = func() time.Time { return time.Now().Add(test.later) }
				return r
			}
			var ids []pack.FileID
			for i := range 3 {
				before := pack.FileID{}
				chunks := noiseChunks(byte(i), 20, 50000)
				if i == 0 {
					ids = append(ids, keepChunks(t, reopen(t, mem), chunks))
				} else {
					before = ids[i-1]
					ids = append(ids, keepAfter(t, mem, chunks, before))
				}
				open().RecordSeen(Seen{ID: ids[i], Name: "disk", Time: now})
			}
			for _, i := range test.forget {
				if _, err := reopen(t, mem).Forget(ctx, ids[i:i+1]); err != nil {
					t.Fatal(err)
				}
			}
			var lost []pack.FileID
			for _, i := range test.lost {
				lost = append(lost, ids[i])
			}
			back := lose(t, mem, lost...)
			left := slices.DeleteFunc(slices.Clone(ids), func(id pack.FileID) bool {
				return slices.ContainsFunc(test.forget, func(i int) bool { return ids[i] == id })
			})
			dry, err := Open(ctx, store.DryRun{Store: mem}, []byte("pw"))
			if err != nil {
				t.Fatal(err)
			}
			if dry.now = open().now; test.remember {
				dry.UseMemory(memory)
			}
			for _, r := range []*Repo{dry, open()} {
				_, err := r.Prune(ctx, PruneOptions{MaxRepack: 1 << 40}, markModel(r), nil)
				if errors.Is(err, ErrUnaccounted) != test.refused || !test.refused && err != nil {
					t.Fatalf("%v", err)
				}
				if u, ok := errors.AsType[*UnaccountedError](err); ok && (len(u.Seen) != test.seen || len(u.Before) != test.before || len(u.Here) > 0 || (u.Packs.Packs > 0) != test.packs) {
					t.Errorf("%+v: %v", u, u)
				}
			}
			if !test.refused {
				return
			}
			back()
			wantSnapshots(t, mem, slices.Clone(left)...)

			// Now they are lost for good.
			lose(t, mem, lost...)
			o, r := PruneOptions{MaxRepack: 1 << 40, Sure: true}, open()
			if test.accept {
				if _, err := r.Prune(ctx, o, markModel(r), nil); !errors.Is(err, ErrUnaccounted) {
					t.Fatalf("one that is sure forgets what this machine has seen: %v", err)
				}
				var there []Seen
				for _, id := range left {
					if !slices.Contains(lost, id) {
						there = append(there, Seen{ID: id, Name: "disk", Time: now})
					}
				}
				if err := r.Accept(there, nil); err != nil {
					t.Fatal(err)
				}
				o.Sure = len(there) == 0 // packs without any snapshot always need a confirmation
			}
			if _, err := r.Prune(ctx, o, markModel(r), nil); err != nil {
				t.Fatal(err)
			}
			left = slices.DeleteFunc(left, func(id pack.FileID) bool { return slices.Contains(lost, id) })
			if len(left) == 0 && countIn(t, mem, layout.Packs) > 0 {
				t.Error("packs are left")
			}
			wantSnapshots(t, mem, left...)
			r = open()
			if _, err := r.Prune(ctx, PruneOptions{}, markModel(r), nil); err != nil {
				t.Errorf("the next prune: %v", err)
			}
		})
	}
}

// TestPruneOfUnfinishedBackups checks that a prune deletes packs of unfinished backups from a repository without any
// snapshot, but only after confirmation. They may belong to missing snapshots.
func TestPruneOfUnfinishedBackups(t *testing.T) {
	mem := new(store.Mem)
	mustSave(t, testRepo(t, mem), noiseChunks(1, 30, 50000))
	packs := countIn(t, mem, layout.Packs)
	r := reopen(t, mem)
	if _, err := r.Prune(t.Context(), PruneOptions{}, markModel(r), nil); !errors.Is(err, ErrUnaccounted) || countIn(t, mem, layout.Packs) != packs {
		t.Fatalf("%v, %d packs of %d", err, countIn(t, mem, layout.Packs), packs)
	}
	if done := mustPrune(t, reopen(t, mem), PruneOptions{Sure: true}); done.After.Packs > 0 {
		t.Errorf("%+v", done)
	}
	mustPrune(t, reopen(t, mem), PruneOptions{})

	// After everything was forgotten, an unfinished backup needs a confirmation, too.
	first := keepChunks(t, reopen(t, mem), noiseChunks(2, 30, 50000))
	if _, err := reopen(t, mem).Forget(t.Context(), []pack.FileID{first}); err != nil {
		t.Fatal(err)
	}
	mustSave(t, reopen(t, mem), noiseChunks(3, 30, 50000))
	r = reopen(t, mem)
	if _, err := r.Prune(t.Context(), PruneOptions{}, markModel(r), nil); !errors.Is(err, ErrUnaccounted) {
		t.Errorf("packs that came after the last snapshot was forgotten: %v", err)
	}
}

// TestPruneLosesSnapshotsAtAnyPoint moves one or all snapshot files away before each operation of a prune. Whatever the
// prune then does, everything is whole once they are back.
func TestPruneLosesSnapshotsAtAnyPoint(t *testing.T) {
	ctx := t.Context()
	start := new(store.Mem)
	testRepo(t, start)
	chunks := noiseChunks(7, 12, 50000)
	var ids []pack.FileID
	for i := range 4 { // each shares half of its chunks with the next
		ids = append(ids, keepChunks(t, reopen(t, start), chunks[2*i:2*i+4]))
	}
	if _, err := reopen(t, start).Forget(ctx, ids[:2]); err != nil {
		t.Fatal(err)
	}
	files := storetest.Files(t, start)
	for _, remember := range []bool{true, false} {
		for _, all := range []bool{true, false} {
			refused := 0
			for i := 0; ; i++ {
				mem := storetest.MemOf(t, files)
				r := reopen(t, mem)
				if remember {
					r.UseMemory(t.TempDir())
				}
				for _, id := range ids[2:] {
					r.RecordSeen(Seen{ID: id})
				}
				lost, n, listed := ids[2:3], 0, false
				if all {
					lost = ids[2:]
				}
				back := func() {}
				r.setStore(storetest.Watch(mem, func(op, name string) {
					// Only a machine that remembers a snapshot can miss it if it was lost before the first listing.
					if n++; n == i+1 && (remember || listed) {
						back = lose(t, mem, lost...)
					}
					listed = listed || op == "list" && layout.Dir(name) == layout.Snapshots
				}))
				_, err := r.Prune(ctx, PruneOptions{MaxRepack: 1 << 40, MaxUnused: 0}, markModel(r), nil)
				if err != nil && !errors.Is(err, ErrUnaccounted) {
					t.Fatalf("operation %d: %v", i, err)
				}
				if err != nil {
					refused++
				}
				back()
				wantSnapshots(t, mem, slices.Clone(ids[2:])...)
				if n <= i {
					break
				}
			}
			if refused == 0 {
				t.Error("no prune noticed anything")
			}
		}
	}
}

// TestPruneBehindListings checks that a prune keeps what existing but unlisted snapshots need, if it knows of them.
func TestPruneBehindListings(t *testing.T) {
	mem := new(store.Mem)
	testRepo(t, mem)
	first := keepChunks(t, reopen(t, mem), noiseChunks(1, 20, 50000))
	second := keepAfter(t, mem, noiseChunks(2, 20, 50000), first)
	third := keepAfter(t, mem, noiseChunks(3, 20, 50000), second)
	for name, remembered := range map[string][]pack.FileID{"named by another": nil, "seen": {second, third}} {
		hidden := map[string]bool{SnapshotName(second): true}
		if remembered != nil {
			hidden[SnapshotName(third)] = true
		}
		r := reopen(t, mem)
		r.setStore(&storetest.Faulty{Store: mem, Hidden: func(name string) bool { return hidden[name] }})
		r.UseMemory(t.TempDir())
		for _, id := range remembered {
			r.RecordSeen(Seen{ID: id})
		}
		if done := mustPrune(t, r, PruneOptions{}); done.Deleted.Packs > 0 {
			t.Errorf("%s: %+v", name, done)
		}
		wantSnapshots(t, mem, first, second, third)
	}
}

// TestPruneWaitsForRecords checks that a prune waits for the record of what was just forgotten, if the age of listings
// is unknown.
func TestPruneWaitsForRecords(t *testing.T) {
	ctx := t.Context()
	mem := new(store.Mem)
	testRepo(t, mem)
	first := keepChunks(t, reopen(t, mem), noiseChunks(1, 20, 50000))
	second := keepChunks(t, reopen(t, mem), noiseChunks(2, 20, 50000))
	if _, err := reopen(t, mem).Forget(ctx, []pack.FileID{first}); err != nil {
		t.Fatal(err)
	}
	hides := true
	s := &storetest.Faulty{Store: mem, Hidden: func(name string) bool { return hides && layout.Dir(name) == layout.Forgotten }}
	r := reopen(t, mem)
	r.setStore(&far{Store: s, lag: store.Lag{Unknown: "some"}})
	r.SetGrace(time.Millisecond)
	r.UseMemory(t.TempDir())
	r.RecordSeen(Seen{ID: first}, Seen{ID: second})
	waits := 0
	done := mustPrune(t, r, PruneOptions{Lag: time.Minute, Wait: func(context.Context, time.Duration) error {
		waits++
		hides = false
		return nil
	}})
	if done.Deleted.Packs == 0 || waits != 3 {
		t.Errorf("%+v after %d waits", done, waits)
	}
	wantSnapshots(t, mem, second)
}
