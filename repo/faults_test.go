package repo

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"platter/repo/layout"
	"platter/repo/store"
	"platter/repo/store/storetest"
)

var errBroken = errors.New("broken")

// TestInterruptedWrite cancels a Write when six packs are stored. They must be in the index, so that the next Write
// stores only the rest.
func TestInterruptedWrite(t *testing.T) {
	mem := new(store.Mem)
	testRepo(t, mem)
	const n, size = 150, 60000 // nine packs
	chunks := noiseChunks(3, n, size)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var packs atomic.Int32
	s := &storetest.Faulty{Store: mem, Lose: func(op, name string) error {
		if op == "put" && strings.HasPrefix(name, layout.Packs+"/") && packs.Add(1) == 6 {
			cancel()
		}
		return nil
	}}
	r := reopen(t, mem)
	r.setStore(s)
	if _, _, err := save(ctx, r, chunks); !errors.Is(err, context.Canceled) {
		t.Fatalf("cancelled: %v", err)
	}
	again := reopen(t, mem)
	if n := len(again.Index().Packs()); n < 6 || n > 7 {
		t.Errorf("%d packs in the index, want those 6 that were stored", n)
	}
	saved, stats, err := save(context.Background(), again, chunks)
	if err != nil {
		t.Fatal(err)
	}
	if raw, all := stats.Raw.Load(), int64(n*size); raw == 0 || raw > all/2 {
		t.Errorf("the second Write stores %d of %d bytes again", raw, all)
	}
	wantLoads(t, reopen(t, mem), saved)
}

func TestWriteCallersError(t *testing.T) {
	mem := new(store.Mem)
	r := testRepo(t, mem)
	_, err := r.Write(context.Background(), func(ctx context.Context, w *Writer) error {
		lane := w.Lane()
		for _, c := range noiseChunks(4, 10, 60000) {
			if err := lane.Save(ctx, lane.Name(c), c); err != nil {
				return err
			}
		}
		return errBroken
	})
	if !errors.Is(err, errBroken) {
		t.Fatalf("%v, want the caller's error", err)
	}
	if n := len(storetest.Files(t, mem)); n != 2 {
		t.Errorf("%d files, want config and key alone", n)
	}
}

func TestStoreFull(t *testing.T) {
	ctx := context.Background()
	x := newSample(t)
	var used int64
	for _, data := range x.files {
		used += int64(len(data))
	}
	fresh := noiseChunks(5, 40, 60000)
	for _, room := range []int64{1, 1000, 1 << 20, 1200 << 10, 2 << 20} {
		full := storetest.MemOf(t, x.files)
		r := reopen(t, full)
		full.Limit = used + room
		if _, _, err := save(ctx, r, fresh); !errors.Is(err, store.ErrFull) {
			t.Errorf("room for %d bytes: %v, want ErrFull", room, err)
		}
		x.wantWhole(t, full)
		if _, err := putSnapshot(ctx, r, make([]byte, 4<<20)); !errors.Is(err, store.ErrFull) {
			t.Errorf("room for %d bytes: snapshot: %v, want ErrFull", room, err)
		}
		full.Limit = 0
		chunks := mustSave(t, reopen(t, full), fresh)
		wantLoads(t, reopen(t, full), chunks)
	}
}

// TestTwoWriters runs two Writes of overlapping chunks through two Repos.
func TestTwoWriters(t *testing.T) {
	mem := new(store.Mem)
	testRepo(t, mem)
	both := noiseChunks(6, 30, 60000)
	var out [2][]saved
	var errs [2]error
	var g sync.WaitGroup
	for i := range out {
		r := reopen(t, mem)
		g.Go(func() {
			chunks := append(noiseChunks(7+byte(i), 20, 60000), both...)
			out[i], _, errs[i] = save(context.Background(), r, chunks)
		})
	}
	g.Wait()
	r := reopen(t, mem)
	for i := range out {
		if errs[i] != nil {
			t.Fatal(errs[i])
		}
		wantLoads(t, r, out[i])
	}
	report, err := r.Check(context.Background(), CheckOptions{ReadData: true}, nil)
	if err != nil || len(report.Damage) > 0 {
		t.Errorf("check: %v, %q", err, report.Damage)
	}
}

// TestWriteFromManyLanes saves the same chunks through many lanes at once. Each is stored once.
func TestWriteFromManyLanes(t *testing.T) {
	mem := new(store.Mem)
	r := testRepo(t, mem)
	chunks := noiseChunks(8, 60, 30000)
	stats, err := r.Write(context.Background(), func(ctx context.Context, w *Writer) error {
		var g sync.WaitGroup
		errs := make([]error, 6)
		for i := range errs {
			g.Go(func() {
				lane := w.Lane()
				for _, c := range chunks {
					if err := lane.Save(ctx, lane.Name(c), c); err != nil {
						errs[i] = err
						return
					}
				}
				errs[i] = lane.Close(ctx)
			})
		}
		g.Wait()
		return errors.Join(errs...)
	})
	if err != nil {
		t.Fatal(err)
	}
	if stats.Chunks.Load() != 60 || stats.Raw.Load() != 60*30000 {
		t.Errorf("%d chunks of %d bytes were new, want 60 of %d", stats.Chunks.Load(), stats.Raw.Load(), 60*30000)
	}
	saved := mustSave(t, r, chunks[:7]) // only for their IDs; nothing is stored
	wantLoads(t, reopen(t, mem), saved)
}
