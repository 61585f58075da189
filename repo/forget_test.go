package repo

import (
	"context"
	"errors"
	"maps"
	"slices"
	"testing"

	"platter/pack"
	"platter/repo/layout"
	"platter/repo/store"
	"platter/repo/store/storetest"
)

func TestForget(t *testing.T) {
	ctx := context.Background()
	x := newSample(t)
	ids := slices.Collect(maps.Keys(x.snapshots))
	mem := storetest.MemOf(t, x.files)
	r := reopen(t, mem)
	r.UseCache(t.TempDir())
	if _, err := r.GetSnapshot(ctx, ids[0]); err != nil { // puts a copy into the cache
		t.Fatal(err)
	}
	if n, err := r.Forget(ctx, nil); n != 0 || err != nil {
		t.Fatalf("nothing: %d, %v", n, err)
	}
	if n, err := r.Forget(ctx, []pack.FileID{ids[0], {1}, ids[0]}); n != 3 || err != nil {
		t.Fatalf("one that is there, one that never was, and the first again: %d, %v", n, err)
	}
	if _, err := r.GetSnapshot(ctx, ids[0]); !layout.IsMissing(err) {
		t.Fatalf("after it was forgotten: %v", err)
	}
	if left, err := r.ListSnapshots(ctx); err != nil || !slices.Equal(left, ids[1:]) {
		t.Fatalf("left: %v, %v", left, err)
	}
	delete(x.snapshots, ids[0])
	x.wantWhole(t, mem)

	dry := reopen(t, store.DryRun{Store: mem})
	if n, err := dry.Forget(ctx, ids); n != len(ids) || err != nil {
		t.Fatalf("dry run: %d, %v", n, err)
	}
	x.wantWhole(t, mem)
	r.config.WriteFeatures = []string{"new"}
	if n, err := r.Forget(ctx, ids); n != 0 || !errors.Is(err, pack.ErrNewer) {
		t.Fatalf("in a repository that must not be written to: %d, %v", n, err)
	}
	x.wantWhole(t, mem)
}

// TestForgetEveryOpFails fails each call of Forget: the one that puts the record, and each that deletes a snapshot. The
// snapshots before the call are deleted, those after it are not, and another run does the rest.
func TestForgetEveryOpFails(t *testing.T) {
	ctx := context.Background()
	x := newSample(t)
	ids := slices.Collect(maps.Keys(x.snapshots))
	for i := range len(ids) + 1 {
		for _, lost := range []int{0, 1} { // how many were deleted although the call failed
			mem := storetest.MemOf(t, x.files)
			r := reopen(t, mem)
			s := &storetest.Faulty{Store: mem}
			nth := storetest.Nth(int64(i), errBroken)
			fault := func(op, name string) error {
				if op == "put" && layout.Dir(name) == layout.Forgotten || op == "delete" && layout.Dir(name) == layout.Snapshots {
					return nth(op, name)
				}
				return nil
			}
			if lost > 0 {
				s.Lose = fault
			} else {
				s.Fail = fault
			}
			r.setStore(s)
			done := max(0, i-1)
			if n, err := r.Forget(ctx, ids); n != done || !errors.Is(err, errBroken) {
				t.Fatalf("call %d fails: %d, %v", i, n, err)
			}
			if left, err := r.ListSnapshots(ctx); err != nil || len(left) != len(ids)-done-min(i, lost) {
				t.Fatalf("call %d fails: %d are left (%v)", i, len(left), err)
			}
			if n, err := r.Forget(ctx, ids); n != len(ids) || err != nil {
				t.Fatalf("again: %d, %v", n, err)
			}
			if known, err := reopen(t, mem).Forgotten(ctx, ids); err != nil || len(known) != len(ids) {
				t.Fatalf("of %d that are forgotten, %d are known to be (%v)", len(ids), len(known), err)
			}
		}
	}
}

// TestForgottenIsRecordedFirst checks that no snapshot is deleted without a record, whichever call is the last one.
func TestForgottenIsRecordedFirst(t *testing.T) {
	ctx := context.Background()
	x := newSample(t)
	ids := slices.Collect(maps.Keys(x.snapshots))
	for i := range int64(len(ids) + 20) {
		mem := storetest.MemOf(t, x.files)
		r := reopen(t, mem)
		r.setStore(&storetest.Faulty{Store: mem, Fail: storetest.After(i, errBroken)})
		_, _ = r.Forget(ctx, ids) // may fail or succeed
		left, err := reopen(t, mem).ListSnapshots(ctx)
		if err != nil {
			t.Fatal(err)
		}
		known, err := reopen(t, mem).Forgotten(ctx, append(ids, pack.FileID{1}))
		if err != nil || known[pack.FileID{1}] {
			t.Fatalf("%v, %v", known, err)
		}
		for _, id := range ids {
			if !known[id] && !slices.Contains(left, id) {
				t.Errorf("after %d calls %v is missing, and no record says that it was forgotten", i, id)
			}
		}
	}
}

// TestForgetOnFullStore checks that Forget works in a store without room for a record, and puts the record later.
func TestForgetOnFullStore(t *testing.T) {
	ctx := context.Background()
	x := newSample(t)
	ids := slices.Collect(maps.Keys(x.snapshots))
	mem := storetest.MemOf(t, x.files)
	r := reopen(t, mem)
	full := true
	r.setStore(&storetest.Faulty{Store: mem, Fail: func(op, name string) error {
		if op == "delete" {
			full = false
		}
		if op == "put" && full {
			return store.ErrFull
		}
		return nil
	}})
	if n, err := r.Forget(ctx, ids); n != len(ids) || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
	if known, err := reopen(t, mem).Forgotten(ctx, ids); err != nil || len(known) != len(ids) {
		t.Fatalf("%v, %v", known, err)
	}
}

// TestDamagedRecord checks that an unreadable record counts as empty, does not keep others from being read, and is
// named.
func TestDamagedRecord(t *testing.T) {
	ctx := context.Background()
	x := newSample(t)
	ids := slices.Collect(maps.Keys(x.snapshots))
	mem := storetest.MemOf(t, x.files)
	for _, id := range ids {
		if _, err := reopen(t, mem).Forget(ctx, []pack.FileID{id}); err != nil {
			t.Fatal(err)
		}
	}
	y := &sample{files: storetest.Files(t, mem)}
	name := y.in(layout.Forgotten)[0]
	whole := y.files[name]
	for _, bad := range changes(whole) {
		if err := mem.Put(ctx, name, bad); err != nil {
			t.Fatal(err)
		}
		r := reopen(t, mem)
		if known, err := r.Forgotten(ctx, ids); err != nil || len(known) != 1 {
			t.Fatalf("%v, %v", known, err)
		}
		names, err := CheckNames(ctx, mem, 1, nil)
		if err != nil || !lists(names, name) {
			t.Fatalf("without a key: %+v, %v", names, err)
		}
		if report, err := r.Check(ctx, CheckOptions{}, nil); err != nil || len(report.Damage) != 1 || !lists(report, name) || len(report.Notes) > 0 {
			t.Fatalf("%+v, %v", report, err)
		}
	}
}
