package snapshot_test

import (
	"context"
	"errors"
	"io/fs"
	"testing"
	"time"

	"platter/repo"
	"platter/repo/store"
	"platter/repo/store/storetest"
	"platter/snapshot"
	"platter/snapshot/snapshottest"
)

// TestLoadSeen checks that a version that this machine saw is missing until it is back, and that loaded versions are
// recorded.
func TestLoadSeen(t *testing.T) {
	ctx := context.Background()
	mem := new(store.Mem)
	r := snapshottest.Repo(t, mem)
	load := func(want, missing int) *snapshot.Loaded {
		t.Helper()
		l, err := snapshot.LoadSeen(ctx, r)
		if err != nil || len(l.Snapshots) != want || len(l.Missing) != missing || l.MissingWhenRead() != nil {
			t.Fatalf("%+v (%v), want %d snapshots, %d missing", l, err, want, missing)
		}
		return l
	}
	s := &snapshot.Snapshot{Name: "vm", Host: "h", Time: time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)}
	if err := r.WithLease(ctx, repo.BackingUp, func(ctx context.Context) error { return s.Save(ctx, r) }); err != nil {
		t.Fatal(err)
	}
	r.UseMemory(t.TempDir())
	load(1, 0)
	back := storetest.Remove(t, mem, repo.SnapshotName(s.ID))
	if l := load(0, 1); l.Missing[0].ID != s.ID {
		t.Errorf("%v is missing, want %v", l.Missing[0].ID, s.ID)
	}
	back()
	load(1, 0)
	r.UseMemory("") // this machine has seen nothing
	storetest.Remove(t, mem, repo.SnapshotName(s.ID))
	load(0, 0)
}

// TestMissingWhenRead checks that only a missing snapshot has missingWhenRead, not a damaged one.
func TestMissingWhenRead(t *testing.T) {
	damaged, missing := &snapshot.Unreadable{Err: errors.New("damaged")}, &snapshot.Unreadable{Err: fs.ErrNotExist}
	if err := (&snapshot.Loaded{Unreadable: []error{damaged}}).MissingWhenRead(); err != nil {
		t.Errorf("damaged: %v", err)
	}
	if err := (&snapshot.Loaded{Unreadable: []error{damaged, missing}}).MissingWhenRead(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
}

// TestComparePlace checks which repositories are suspicious at the place of another one.
func TestComparePlace(t *testing.T) {
	seen := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	before := &snapshot.Place{ID: "a", Seen: seen}
	for _, test := range []struct {
		name    string
		before  *snapshot.Place
		id      string
		created time.Time
		want    snapshot.PlaceVerdict
	}{
		{"nothing was there", nil, "b", seen, snapshot.PlaceKnown},
		{"the same", before, "a", seen.Add(-time.Hour), snapshot.PlaceKnown},
		{"the same, of unknown time", &snapshot.Place{ID: "a"}, "a", seen, snapshot.PlaceKnown},
		{"an older one", before, "b", seen.Add(-time.Second), snapshot.PlaceReplaced},
		{"one created at that moment", before, "b", seen, snapshot.PlaceNew},
		{"a newer one", before, "b", seen.Add(time.Hour), snapshot.PlaceNew},
		{"one of unknown time before", &snapshot.Place{ID: "a"}, "b", seen.Add(time.Hour), snapshot.PlaceReplaced},
	} {
		if got := snapshot.ComparePlace(test.before, test.id, test.created); got != test.want {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}
