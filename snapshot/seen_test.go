package snapshot_test

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"platter/pack"
	"platter/repo"
	"platter/repo/store"
	"platter/repo/store/storetest"
	"platter/snapshot"
	"platter/snapshot/snapshottest"
)

// TestMissed covers what can happen to versions that a machine has seen.
func TestMissed(t *testing.T) {
	ctx := context.Background()
	now := time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)
	mem := new(store.Mem)
	r := snapshottest.Repo(t, mem)
	mine, theirs := t.TempDir(), t.TempDir()
	put := func(name string, at time.Time) *snapshot.Snapshot {
		t.Helper()
		s := &snapshot.Snapshot{Name: name, Host: "h", Time: at}
		err := r.WithLease(ctx, repo.BackingUp, func(ctx context.Context) error { return s.Save(ctx, r) })
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	look := func(folder string, want ...*snapshot.Snapshot) {
		t.Helper()
		r.UseMemory(folder)
		all, bad, err := snapshot.Load(ctx, r)
		if err != nil {
			t.Fatal(err)
		}
		missed, err := snapshot.MissingSeen(ctx, r, all, bad)
		if err != nil || len(missed) != len(want) {
			t.Fatalf("%d are missed, not %d: %+v (%v)", len(missed), len(want), missed, err)
		}
		slices.SortFunc(want, func(a, b *snapshot.Snapshot) int {
			return cmp.Or(b.Time.Compare(a.Time), slices.Compare(a.ID[:], b.ID[:]))
		})
		for i, s := range want {
			if missed[i].ID != s.ID || missed[i].Name != s.Name || missed[i].Host != s.Host || !missed[i].Time.Equal(s.Time) {
				t.Errorf("missed %+v, not %+v", missed[i], s)
			}
		}
	}
	hide := func(s *snapshot.Snapshot) func() { return storetest.Remove(t, mem, repo.SnapshotName(s.ID)) }

	old, a := put("a", now.Add(-2*time.Hour)), put("a", now.Add(-time.Hour))
	b := put("b", now.Add(-time.Hour))
	look(mine)
	look(theirs)
	older := hide(old) // not only the newest version of each disk is recorded
	look(mine, old)
	older()
	look(mine)
	back := hide(a)
	look(mine, a)
	look(mine, a)
	newer := put("a", now)
	look(mine, a) // a newer version does not make up for it
	hide(newer)
	look(mine, a, newer)
	back()
	look(mine, newer)
	look(theirs)
	hide(b)
	look(mine, newer, b)
	look("") // without a memory, nothing is missing
	r.UseMemory(mine)
	all, _, err := snapshot.Load(ctx, r)
	if err != nil {
		t.Fatal(err)
	}
	if err := snapshot.Accept(r, all); err != nil {
		t.Fatal(err)
	}
	look(mine)
	look(theirs, b)

	// A snapshot that this process has stored since the listing exists.
	late := put("c", now)
	r.UseMemory(mine)
	snapshot.RecordSeen(r, late)
	if missed, err := snapshot.MissingSeen(ctx, r, all, nil); err != nil || len(missed) > 0 {
		t.Fatalf("%+v, %v", missed, err)
	}
	look(mine)
	// A snapshot that this process has forgotten is not missing, even without a record.
	r.DropSeen([]pack.FileID{late.ID})
	hide(late)
	look(mine)
	// A version from the future is recorded like any other.
	d := put("d", now.Add(time.Hour))
	look(mine)
	hide(d)
	look(mine, d)
	// An unreadable snapshot exists.
	if missed, err := snapshot.MissingSeen(ctx, r, all, []error{&snapshot.Unreadable{d.ID, errors.New("bad")}}); err != nil || len(missed) > 0 {
		t.Fatalf("%+v, %v", missed, err)
	}
}

// TestMissedForgotten checks that a snapshot that another process forgot is not missing.
func TestMissedForgotten(t *testing.T) {
	ctx := context.Background()
	now := time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)
	mem := new(store.Mem)
	r := snapshottest.Repo(t, mem)
	r.UseMemory(t.TempDir())
	var ids []pack.FileID
	for _, name := range []string{"a", "b", "c"} {
		s := &snapshot.Snapshot{Name: name, Time: now}
		if err := r.WithLease(ctx, repo.BackingUp, func(ctx context.Context) error { return s.Save(ctx, r) }); err != nil {
			t.Fatal(err)
		}
		snapshot.RecordSeen(r, s)
		ids = append(ids, s.ID)
	}
	if _, err := r.Forget(ctx, ids[:1]); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Forget(ctx, ids[1:2]); err != nil {
		t.Fatal(err)
	}
	storetest.Remove(t, mem, repo.SnapshotName(ids[2]))
	all, bad, err := snapshot.Load(ctx, r)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if missed, err := snapshot.MissingSeen(ctx, r, all, bad); err != nil || len(missed) != 1 || missed[0].ID != ids[2] {
			t.Fatalf("%+v, %v", missed, err)
		}
	}
}
