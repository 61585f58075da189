package snapshot_test

import (
	"context"
	"math/rand/v2"
	"testing"

	"platter/pack"
	"platter/repo"
	"platter/repo/store"
	"platter/snapshot"
	"platter/snapshot/backup/backuptest"
	"platter/snapshot/image"
	"platter/snapshot/snapshottest"
)

// TestCheckMapsBeside checks that a version forgotten and pruned since a check began is no loss, and that a version
// that was not forgotten is one.
func TestCheckMapsBeside(t *testing.T) {
	ctx := context.Background()
	for _, forgotten := range []bool{true, false} {
		mem := new(store.Mem)
		r := snapshottest.Repo(t, mem)
		rnd := rand.New(rand.NewPCG(1, 2))
		backuptest.Keep(t, r, image.Mem{Data: snapshottest.RandomDisk(rnd, 3<<20)})
		before := map[pack.FileID]bool{}
		for _, p := range r.Index().Packs() {
			before[p.ID] = true
		}
		gone := backuptest.Keep(t, r, image.Mem{Data: snapshottest.RandomDisk(rnd, 3<<20)})
		all, _, err := snapshot.Load(ctx, r)
		if err != nil {
			t.Fatal(err)
		}
		report, err := r.Check(ctx, repo.CheckOptions{}, nil)
		if err != nil || len(report.Damage) > 0 {
			t.Fatalf("%v, %q", err, report.Damage)
		}
		if losses, err := snapshot.CheckMapsBeside(ctx, r, all, report); err != nil || len(losses) > 0 {
			t.Fatalf("%+v, %v", losses, err)
		}
		if forgotten {
			if _, err := r.Forget(ctx, []pack.FileID{gone.ID}); err != nil {
				t.Fatal(err)
			}
		}
		for _, p := range r.Index().Packs() {
			if !before[p.ID] {
				id := p.ID.String()
				if err := mem.Delete(ctx, "packs/"+id[:2]+"/"+id); err != nil {
					t.Fatal(err)
				}
			}
		}
		r = snapshottest.Reopen(t, mem)
		if report, err = r.Check(ctx, repo.CheckOptions{}, nil); err != nil || len(report.Damage) == 0 {
			t.Fatalf("%v, %q", err, report.Damage)
		}
		losses, err := snapshot.CheckMapsBeside(ctx, r, all, report)
		if err != nil || forgotten && len(losses) > 0 || !forgotten && (len(losses) != 1 || losses[0].Snapshot.ID != gone.ID) {
			t.Fatalf("forgotten %v: %+v, %v", forgotten, losses, err)
		}
	}
}
