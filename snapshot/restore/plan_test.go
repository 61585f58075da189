package restore

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"platter/repo/store"
	"platter/snapshot"
	"platter/snapshot/backup/backuptest"
	"platter/snapshot/image"
	"platter/snapshot/snapshottest"
)

// TestPlanFile checks that a plan is right for new files and for files in place: older, shorter and longer ones. A plan
// changes nothing.
func TestPlanFile(t *testing.T) {
	for seed := range uint64(6) {
		rnd := rand.New(rand.NewPCG(seed, 51))
		disk := pitted(rnd, snapshottest.RandomDisk(rnd, 1<<20+rnd.IntN(6<<20)))
		s := new(store.Mem)
		snap := backuptest.Keep(t, snapshottest.Repo(t, s), image.Mem{Data: disk, Holes: true})
		r := snapshottest.Reopen(t, s)
		for _, part := range []snapshot.Part{snap.Whole(), {Off: 12345, Len: 1 << 19}} {
			t.Run(fmt.Sprintf("%d/%d", seed, part.Len), func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "disk")
				plan, err := PlanFile(t.Context(), r, snap, part, path, Options{}, nil)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
					t.Fatalf("the plan left a file: %v", err)
				}
				done, err := ToFile(t.Context(), r, snap, part, path, Options{}, nil)
				if err != nil {
					t.Fatal(err)
				}
				cameTrue(t, plan, done)
				if stored := snap.Stats.Stored; stored > 1<<20 && part.Len == snap.Size && (plan.Fetch > stored || plan.Fetch < stored*9/10) {
					t.Errorf("%d bytes to fetch of a disk that took %d", plan.Fetch, stored)
				}

				old := snapshottest.Scribbled(rnd, disk[part.Off:part.End()])
				path = snapshottest.WriteFile(t, old)
				o := Options{InPlace: true, Verify: true}
				if plan, err = PlanFile(t.Context(), r, snap, part, path, o, nil); err != nil {
					t.Fatal(err)
				}
				snapshottest.MustHold(t, path, old)
				if done, err = ToFile(t.Context(), r, snap, part, path, o, nil); err != nil {
					t.Fatal(err)
				}
				cameTrue(t, plan, done)
				snapshottest.MustHold(t, path, disk[part.Off:part.End()])
			})
		}
	}
}

func cameTrue(t *testing.T, plan *Plan, done *Result) {
	t.Helper()
	if plan.Differ != done.Differed.Load() || plan.Right != done.Right.Load() || plan.Zero != done.Zeroed.Load() || done.Written.Load() > plan.Differ {
		t.Errorf("the plan was %+v, and then %d differed, %d were right, %d zeroed, %d written",
			plan, done.Differed.Load(), done.Right.Load(), done.Zeroed.Load(), done.Written.Load())
	}
	if (plan.Fetch > 0) != (plan.Differ > 0) || plan.Time < 0 {
		t.Errorf("the plan is %+v", plan)
	}
}

// TestPlanFileRefuses checks that a plan fails where the restore would.
func TestPlanFileRefuses(t *testing.T) {
	s := new(store.Mem)
	snap := backuptest.Keep(t, snapshottest.Repo(t, s), image.Mem{Data: []byte("disk")})
	r := snapshottest.Reopen(t, s)
	there := snapshottest.WriteFile(t, []byte("other"))
	for name, c := range map[string]struct {
		path string
		o    Options
	}{
		"there":        {there, Options{}},
		"not there":    {there + "2", Options{InPlace: true}},
		"a folder":     {filepath.Dir(there), Options{Replace: true}},
		"in no folder": {there + "3/disk", Options{}},
	} {
		_, planned := PlanFile(t.Context(), r, snap, snap.Whole(), c.path, c.o, nil)
		_, restored := ToFile(t.Context(), r, snap, snap.Whole(), c.path, c.o, nil)
		if planned == nil || restored == nil || planned.Error() != restored.Error() {
			t.Errorf("%s: the plan says %v, the restore %v", name, planned, restored)
		}
	}
	if got, _ := os.ReadFile(there); !bytes.Equal(got, []byte("other")) {
		t.Errorf("the file holds %q", got)
	}
}
