package repo

import (
	"context"
	"errors"
	"maps"
	"slices"
	"testing"

	"platter/pack"
	"platter/repo/store"
	"platter/repo/store/storetest"
)

func TestForget(t *testing.T) {
	ctx := context.Background()
	x := newSample(t)
	ids := slices.Collect(maps.Keys(x.snapshots))
	mem := memOf(t, x.files)
	r := reopen(t, mem)
	r.UseCache(t.TempDir())
	if _, err := r.GetSnapshot(ctx, ids[0]); err != nil { // a copy of it is in the cache now
		t.Fatal(err)
	}
	if n, err := r.Forget(ctx, nil); n != 0 || err != nil {
		t.Fatalf("nothing: %d, %v", n, err)
	}
	if n, err := r.Forget(ctx, []pack.ID{ids[0], {1}, ids[0]}); n != 3 || err != nil {
		t.Fatalf("one that is there, one that never was, and the first again: %d, %v", n, err)
	}
	if _, err := r.GetSnapshot(ctx, ids[0]); !gone(err) {
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

// TestForgetEveryOpFails fails each call of Forget: those before it are gone, those behind it are not, and another run
// does the rest.
func TestForgetEveryOpFails(t *testing.T) {
	ctx := context.Background()
	x := newSample(t)
	ids := slices.Collect(maps.Keys(x.snapshots))
	for i := range len(ids) {
		for _, lost := range []int{0, 1} { // how many were deleted although the call failed
			mem := memOf(t, x.files)
			r := reopen(t, mem)
			s := &storetest.Faulty{Store: mem}
			if fault := storetest.Nth(int64(i), errBroken); lost > 0 {
				s.Lose = fault
			} else {
				s.Fail = fault
			}
			r.store = s
			if n, err := r.Forget(ctx, ids); n != i || !errors.Is(err, errBroken) {
				t.Fatalf("call %d fails: %d, %v", i, n, err)
			}
			if left, err := r.ListSnapshots(ctx); err != nil || len(left) != len(ids)-i-lost {
				t.Fatalf("call %d fails: %d are left (%v)", i, len(left), err)
			}
			if n, err := r.Forget(ctx, ids); n != len(ids) || err != nil {
				t.Fatalf("again: %d, %v", n, err)
			}
		}
	}
}
