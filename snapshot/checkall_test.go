package snapshot_test

import (
	"context"
	"testing"
	"time"

	"platter/chunk"
	"platter/pack"
	"platter/repo"
	"platter/repo/store"
	"platter/repo/store/storetest"
	"platter/snapshot"
	"platter/snapshot/diskmap"
	"platter/snapshot/snapshottest"
)

// TestCheckAll checks that one call finds damage, losses and missing versions, and loads the snapshots before it reads
// the files.
func TestCheckAll(t *testing.T) {
	ctx := context.Background()
	mem := new(store.Mem)
	r := snapshottest.Repo(t, mem)
	r.UseMemory(t.TempDir())
	put := func(s *snapshot.Snapshot) *snapshot.Snapshot {
		t.Helper()
		s.Host, s.Time = "h", time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
		if err := r.WithLease(ctx, repo.BackingUp, func(ctx context.Context) error { return s.Save(ctx, r) }); err != nil {
			t.Fatal(err)
		}
		return s
	}
	check := func(o repo.CheckOptions, damage, losses, missing int) *snapshot.CheckResult {
		t.Helper()
		shown := 0
		reviewed := 0
		got, err := snapshot.CheckAll(ctx, r, snapshot.CheckAllOptions{
			CheckOptions: o,
			Loaded:       func(l *snapshot.Loaded) { shown += 1 + len(l.Missing) },
			Review:       func(_ context.Context, c *snapshot.CheckResult) error { reviewed += 1 + len(c.Losses); return nil },
		}, new(repo.Progress))
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Report.Damage)+len(got.Unreadable) != damage || len(got.Losses) != losses || len(got.Missing) != missing || shown != 1+missing || reviewed != 1+losses {
			t.Fatalf("%d damaged %v, %d losses, %d missing, shown %d; want %d, %d, %d", len(got.Report.Damage)+len(got.Unreadable), got.Report.Damage, len(got.Losses), len(got.Missing), shown, damage, losses, missing)
		}
		return got
	}
	reads := repo.CheckOptions{ReadData: true, Sample: 1}
	check(reads, 0, 0, 0)
	whole := put(&snapshot.Snapshot{Name: "whole", Size: diskmap.RegionSize})
	check(reads, 0, 0, 0)
	lost := put(&snapshot.Snapshot{Name: "lost", Size: diskmap.RegionSize, Root: chunk.ID{1}})
	got := check(repo.CheckOptions{Sample: 1}, 0, 1, 0)
	if l := got.Losses[0]; l.Snapshot.ID != lost.ID || l.Ranges.Bytes != diskmap.RegionSize {
		t.Errorf("lost: %d bytes of %s", l.Ranges.Bytes, l.Snapshot.Name)
	}
	storetest.Remove(t, mem, repo.SnapshotName(whole.ID))
	check(repo.CheckOptions{Sample: 1}, 0, 1, 1)
	if err := mem.Put(ctx, repo.SnapshotName(pack.FileID{2}), []byte("garbage")); err != nil {
		t.Fatal(err)
	}
	if got := check(repo.CheckOptions{Sample: 1, ReadOnly: true}, 1, 1, 1); len(got.Unreadable) == 0 {
		t.Error("the snapshot that cannot be read is not named")
	}
}
