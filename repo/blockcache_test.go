package repo

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"platter/repo/layout"
	"platter/repo/store"
	"platter/repo/store/storetest"
)

// reopenBlocks opens a repository with a block cache, and with the other decorators before or after it.
func reopenBlocks(t *testing.T, s store.Store, folder string, cached bool) *Repo {
	t.Helper()
	r, err := Open(t.Context(), s, []byte("pw"))
	if err != nil {
		t.Fatal(err)
	}
	if cached {
		r.UseCache(folder)
	}
	if err := r.UseBlockCache(folder, 1<<30); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	if err := r.LoadIndex(t.Context()); err != nil {
		t.Fatal(err)
	}
	return r
}

// TestBlockCacheServesPacks checks that a second opening reads no pack from the store, with each decorator around, and
// that Check reads packs from the store all the same.
func TestBlockCacheServesPacks(t *testing.T) {
	x := newSample(t)
	for _, cached := range []bool{false, true} {
		for _, dry := range []bool{false, true} {
			var reads atomic.Int64
			folder := t.TempDir()
			var s store.Store = &storetest.Faulty{Store: storetest.MemOf(t, x.files), Fail: func(op, name string) error {
				if op == "get" && layout.Dir(name) == layout.Packs {
					reads.Add(1)
				}
				return nil
			}}
			if dry {
				s = store.DryRun{Store: s}
			}
			wantLoads(t, reopenBlocks(t, s, folder, cached), x.chunks)
			first := reads.Swap(0)
			r := reopenBlocks(t, s, folder, cached)
			wantLoads(t, r, x.chunks)
			if again := reads.Swap(0); first == 0 || again != 0 {
				t.Errorf("cached %v, dry %v: %d reads of packs, then %d; want some, then none", cached, dry, first, again)
			}
			if _, ok := r.view().store.(store.DryRun); ok != dry || (r.cached() != nil) != cached {
				t.Errorf("cached %v, dry %v: the store is %T", cached, dry, r.view().store)
			}
			if report, err := r.Check(t.Context(), CheckOptions{ReadData: true}, nil); err != nil || len(report.Damage) > 0 || reads.Load() == 0 {
				t.Errorf("cached %v, dry %v: Check: %v, %+v, after %d reads of packs", cached, dry, err, report, reads.Load())
			}
			if _, ok := store.As[*store.BlockCache](r.view().store); ok {
				t.Errorf("cached %v, dry %v: Check reads from blocks", cached, dry)
			}
		}
	}
}

// A bent store damages every pack on its way to this machine, while bends is set.
type bent struct {
	store.Store
	bends atomic.Bool
	reads atomic.Int64
}

func (b *bent) Get(ctx context.Context, name string, off, n int64) ([]byte, error) {
	data, err := b.Store.Get(ctx, name, off, n)
	if err == nil && layout.Dir(name) == layout.Packs {
		b.reads.Add(1)
		for i := 50; b.bends.Load() && i < len(data); i += 1000 {
			data[i] ^= 1
		}
	}
	return data, err
}

// TestBlockCacheDamagedOnTheWay checks that blocks that were damaged on their way into the cache are read again from
// the store, and that the cache has the right bytes afterwards.
func TestBlockCacheDamagedOnTheWay(t *testing.T) {
	for _, x := range []*sample{newSample(t), newParitySample(t)} {
		s, folder := &bent{Store: storetest.MemOf(t, x.files)}, t.TempDir()
		r := reopenBlocks(t, s, folder, true)
		s.bends.Store(true)
		failed := 0
		for _, c := range x.chunks {
			if loadOne(r, c) != nil {
				failed++
			}
		}
		if failed == 0 {
			t.Error("nothing was damaged")
		}
		s.bends.Store(false)
		r = reopenBlocks(t, s, folder, true)
		wantLoads(t, r, x.chunks)
		if healed := r.Healed(); len(healed) > 0 {
			t.Errorf("it blames the repository: %q", healed)
		}
		s.reads.Store(0)
		wantLoads(t, reopenBlocks(t, s, folder, true), x.chunks)
		if n := s.reads.Load(); n > 0 {
			t.Errorf("packs were read %d times more", n)
		}
	}
}

// TestBlockCacheWithoutFolder checks the error of a folder that cannot be made.
func TestBlockCacheWithoutFolder(t *testing.T) {
	x := newSample(t)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r := reopen(t, storetest.MemOf(t, x.files))
	if err := r.UseBlockCache(file, 1<<30); err == nil || !strings.Contains(err.Error(), "block cache") {
		t.Errorf("%v", err)
	}
	wantLoads(t, r, x.chunks)
}
