package restore

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"platter/chunk"
	"platter/repo"
	"platter/repo/store"
	"platter/snapshot/backup/backuptest"
	"platter/snapshot/diskmap"
	"platter/snapshot/image"
	"platter/snapshot/snapshottest"
)

// A failing repository fails one load of map nodes, or one batch. Both count from 0, and -1 is none.
type failing struct {
	Planner
	load, batch    int64
	with           error
	loads, batches atomic.Int64
}

func (f *failing) Load(ctx context.Context, kind chunk.Kind, ids []chunk.ID, fn func(int, []byte) error) error {
	if f.loads.Add(1)-1 == f.load {
		return f.with
	}
	return f.Planner.Load(ctx, kind, ids, fn)
}

func (f *failing) Fetch(ctx context.Context, batches <-chan repo.Batch) error {
	ctx, cancel := context.WithCancel(ctx)
	passed, done := make(chan repo.Batch), make(chan error, 1)
	go func() {
		defer close(done)
		done <- f.Planner.Fetch(ctx, passed)
	}()
	for b := range batches {
		if f.batches.Add(1)-1 == f.batch {
			cancel()
			<-done
			return f.with
		}
		select {
		case passed <- b:
		case <-ctx.Done():
		}
	}
	close(passed)
	defer cancel()
	return <-done
}

// TestEveryFailure fails each batch of a restore in turn, and each load of a map, or every fifth. The error is always returned. A new file is then not
// there. A file that is restored in place, again and again, is whole after the last time.
func TestEveryFailure(t *testing.T) {
	const regions = batchRegions + 1 // two batches
	disk := image.Sparse{Bytes: regions*diskmap.RegionSize - 5<<20}
	for i := range int64(regions) {
		disk.Fills = append(disk.Fills, image.Fill{Off: i * diskmap.RegionSize, Len: 12 << 10, Seed: uint64(i)})
	}
	mem := new(store.Mem)
	s := backuptest.Keep(t, snapshottest.Repo(t, mem), disk)
	r := snapshottest.Reopen(t, mem)
	folder := t.TempDir()
	path := filepath.Join(folder, "disk")
	ways := map[string]func(r Planner) error{
		"new": func(r Planner) error {
			os.Remove(path)
			_, err := ToFile(t.Context(), r, s, s.Whole(), path, Options{Verify: true}, nil)
			return err
		},
		"plan": func(r Planner) error {
			_, err := PlanFile(t.Context(), r, s, s.Whole(), path, Options{Verify: true}, nil)
			return err
		},
		"stream": func(r Planner) error { return ToStream(t.Context(), r, s, s.Whole(), io.Discard, nil) },
	}
	broken := errors.New("broken")
	for name, restore := range ways {
		n := eachFailure(t, name, r, broken, restore, func() {
			if left, err := os.ReadDir(folder); err != nil || len(left) > 0 {
				t.Errorf("%s: it left %v, %v", name, left, err)
			}
		})
		if name != "plan" && n < 2*regions {
			t.Errorf("%s: only %d loads", name, n)
		}
		os.Remove(path)
	}
	if err := os.WriteFile(path, []byte("something else"), 0o600); err != nil {
		t.Fatal(err)
	}
	inPlace := func(r Planner) error {
		_, err := ToFile(t.Context(), r, s, s.Whole(), path, Options{InPlace: true, Verify: true}, nil)
		return err
	}
	eachFailure(t, "in place", r, broken, inPlace, func() {})
}

// eachFailure fails one batch and one load after another, until there are no more. It returns about the number of loads.
func eachFailure(t *testing.T, name string, r Planner, broken error, restore func(Planner) error, failed func()) int64 {
	t.Helper()
	for at := int64(0); ; at++ {
		f := &failing{Planner: r, load: -1, batch: at, with: broken}
		err := restore(f)
		if f.batches.Load() <= at {
			break
		}
		if !errors.Is(err, broken) {
			t.Fatalf("%s: batch %d failed, and the error is %v", name, at, err)
		}
		failed()
	}
	step := int64(1)
	if testing.Short() {
		step = 17
	}
	for at := int64(0); ; at += step {
		f := &failing{Planner: r, load: at, batch: -1, with: broken}
		err := restore(f)
		if f.loads.Load() <= at {
			if err != nil {
				t.Fatalf("%s: %v without a failure", name, err)
			}
			return at
		}
		if !errors.Is(err, broken) {
			t.Fatalf("%s: load %d failed, and the error is %v", name, at, err)
		}
		failed()
	}
}
