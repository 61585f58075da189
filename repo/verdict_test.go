package repo

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"platter/pack"
	"platter/repo/layout"
	"platter/repo/store"
)

// TestVerdicts stores results of tests. The newest of each test of each snapshot is kept, and a prune deletes those of
// snapshots that are missing, once they are old enough.
func TestVerdicts(t *testing.T) { synctest.Test(t, testVerdicts) }

func testVerdicts(t *testing.T) {
	mem := new(store.Mem)
	r := testRepo(t, mem)
	first := keepChunks(t, r, noiseChunks(1, 3, 50000))
	begun := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	put := func(v Verdict, after time.Duration) {
		t.Helper()
		v.Time = begun.Add(after)
		if err := reopen(t, mem).PutVerdict(t.Context(), v); err != nil {
			t.Fatal(err)
		}
	}
	put(Verdict{Snapshot: first, Test: BootTest, Reason: "a panic"}, 0)
	put(Verdict{Snapshot: first, Test: "other", Passed: true}, time.Minute)
	put(Verdict{Snapshot: pack.FileID{7}, Test: BootTest, Passed: true}, 2*time.Minute)
	put(Verdict{Snapshot: first, Test: BootTest, Passed: true, Reason: strings.Repeat("x", 1e6), Seconds: 12.5}, time.Hour)
	put(Verdict{Snapshot: first, Test: BootTest, Reason: "an older result, stored late"}, -time.Hour)
	all, bad, err := reopen(t, mem).Verdicts(t.Context())
	if err != nil || len(bad) != 0 || len(all) != 4 {
		t.Fatalf("%d verdicts, %v, %v", len(all), bad, err)
	}
	last := all[len(all)-1]
	if last.Snapshot != first || !last.Passed || last.Seconds != 12.5 || last.Host == "" || !last.Time.Equal(begun.Add(time.Hour)) {
		t.Errorf("the newest is %+v", last)
	}
	mustPrune(t, reopen(t, mem), PruneOptions{})
	if n := countIn(t, mem, layout.Verdicts); n != 4 {
		t.Errorf("%d verdicts after a prune at once", n)
	}
	name := layout.Name(layout.Verdicts, all[1].ID)
	data, err := mem.Get(t.Context(), name, 0, layout.MaxVerdict)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := mem.Put(t.Context(), name, data); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * time.Hour)
	if _, bad, err := reopen(t, mem).Verdicts(t.Context()); err != nil || len(bad) != 1 || !errors.Is(bad[0], pack.ErrDamaged) {
		t.Errorf("a damaged verdict: %v, %v", bad, err)
	}
	mustPrune(t, reopen(t, mem), PruneOptions{})
	all, bad, err = reopen(t, mem).Verdicts(t.Context())
	if err != nil || len(bad) != 0 {
		t.Fatal(bad, err)
	}
	for _, v := range all {
		if v.Snapshot != first {
			t.Errorf("%+v is kept", v)
		}
	}
	if len(all) != 2 {
		t.Errorf("%d are left", len(all))
	}
}
