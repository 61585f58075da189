package snapshot

import (
	"context"
	"errors"
	"io/fs"
	"testing"
	"time"

	"platter/repo"
	"platter/repo/store"
)

// TestLoadSeen holds that a version this machine saw is missing until it is back, and that it sees what it loads.
func TestLoadSeen(t *testing.T) {
	ctx := context.Background()
	mem := new(store.Mem)
	r := testRepo(t, mem)
	load := func(want, missing int) *Loaded {
		t.Helper()
		l, err := LoadSeen(ctx, r)
		if err != nil || len(l.Snapshots) != want || len(l.Missing) != missing || l.Vanished() != nil {
			t.Fatalf("%+v (%v), want %d snapshots, %d missing", l, err, want, missing)
		}
		return l
	}
	s := &Snapshot{Name: "vm", Host: "h", Time: time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)}
	if err := r.WithLease(ctx, repo.BackingUp, func(ctx context.Context) error { return s.save(ctx, r) }); err != nil {
		t.Fatal(err)
	}
	r.UseMemory(t.TempDir())
	load(1, 0)
	back := hideSnapshot(t, mem, s.ID)
	if l := load(0, 1); l.Missing[0].ID != s.ID {
		t.Errorf("%v is missing, want %v", l.Missing[0].ID, s.ID)
	}
	back()
	load(1, 0)
	r.UseMemory("") // this machine saw nothing
	hideSnapshot(t, mem, s.ID)
	load(0, 0)
}

// TestVanished holds that only a snapshot that is missing has vanished, and not a damaged one.
func TestVanished(t *testing.T) {
	damaged, missing := &Unreadable{Err: errors.New("damaged")}, &Unreadable{Err: fs.ErrNotExist}
	if err := (&Loaded{Bad: []error{damaged}}).Vanished(); err != nil {
		t.Errorf("damaged: %v", err)
	}
	if err := (&Loaded{Bad: []error{damaged, missing}}).Vanished(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
}

// TestComparePlace holds which repositories in the place of another are suspicious.
func TestComparePlace(t *testing.T) {
	seen := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	before := &Place{ID: "a", Seen: seen}
	for _, test := range []struct {
		name    string
		before  *Place
		id      string
		created time.Time
		want    PlaceVerdict
	}{
		{"nothing was there", nil, "b", seen, PlaceKnown},
		{"the same", before, "a", seen.Add(-time.Hour), PlaceKnown},
		{"the same, of unknown time", &Place{ID: "a"}, "a", seen, PlaceKnown},
		{"an older one", before, "b", seen.Add(-time.Second), PlaceReplaced},
		{"one created at that moment", before, "b", seen, PlaceNew},
		{"a newer one", before, "b", seen.Add(time.Hour), PlaceNew},
		{"one of unknown time before", &Place{ID: "a"}, "b", seen.Add(time.Hour), PlaceReplaced},
	} {
		if got := ComparePlace(test.before, test.id, test.created); got != test.want {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}
