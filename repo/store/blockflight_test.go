package store_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"platter/repo/store"
)

// slow makes each read of the store take some time, or until its context ends.
func slow(d time.Duration) func(context.Context, string, int64, int64) error {
	return func(ctx context.Context, _ string, _, _ int64) error {
		select {
		case <-time.After(d):
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// TestBlockCacheShares checks that readers of one block wait for one read of the store, that each keeps its own
// deadline, and that the block is fetched again if the reader that fetched it ends.
func TestBlockCacheShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &fetched{hook: slow(time.Minute)}
		data := putPack(t, s, "packs/ab", 3*block)
		c := blocksOver(t, s, t.TempDir(), 1<<30)
		defer c.Close()
		begin := time.Now()
		var all sync.WaitGroup
		read := func(after, deadline time.Duration, want error, took time.Duration) {
			all.Go(func() {
				time.Sleep(after)
				ctx, cancel := context.WithTimeout(t.Context(), deadline)
				defer cancel()
				got, err := c.Get(ctx, "packs/ab", block-5, 10)
				if !errors.Is(err, want) || err == nil && !bytes.Equal(got, data[block-5:block+5]) {
					t.Errorf("after %v: %d bytes, %v; want %v", after, len(got), err, want)
				}
				if d := time.Since(begin); d != took {
					t.Errorf("after %v: it took until %v, want %v", after, d, took)
				}
			})
		}
		read(0, 20*time.Second, context.DeadlineExceeded, 20*time.Second) // it fetches
		read(time.Second, 5*time.Second, context.DeadlineExceeded, 6*time.Second)
		for range 3 {
			read(2*time.Second, time.Hour, nil, 80*time.Second) // one of them fetches from 20 s on
		}
		all.Wait()
		if times, reads := s.most(); times != 2 || reads != 2 {
			t.Errorf("%d reads, a block %d times; want 2", reads, times)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := c.Get(ctx, "packs/ab", 0, 5); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
	})
}

// TestBlockCacheOverlaps has two calls fetch one block each of the other's range.
func TestBlockCacheOverlaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &fetched{hook: slow(time.Second)}
		data := putPack(t, s, "packs/ab", 5*block)
		c := blocksOver(t, s, t.TempDir(), 1<<30)
		defer c.Close()
		var all sync.WaitGroup
		for _, at := range []int64{2, 1, 0} {
			all.Go(func() {
				time.Sleep(time.Duration(2-at) * time.Millisecond)
				got, err := c.Get(t.Context(), "packs/ab", at*block, 3*block)
				if err != nil || !bytes.Equal(got, data[at*block:(at+3)*block]) {
					t.Errorf("%d: %d bytes, %v", at, len(got), err)
				}
			})
		}
		all.Wait()
		if times, reads := s.most(); times != 1 || reads != 3 {
			t.Errorf("%d reads, a block %d times; want 3 reads, each block once", reads, times)
		}
	})
}

// TestBlockCacheFails checks that an unreadable place costs only reads of that place, that few reads touch it, and that
// a store that works again is read again.
func TestBlockCacheFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const bad = block + 5000
		s := new(fetched)
		data := putPack(t, s, "packs/ab", 3*block)
		touched := 0
		broken := func(_ context.Context, _ string, off, n int64) error {
			if off <= bad && bad < off+n {
				touched++
				return syscall.EIO
			}
			return nil
		}
		s.hook = broken
		c := blocksOver(t, s, t.TempDir(), 1<<30)
		defer c.Close()
		for off := int64(0); off < 3*block; off += 64 << 10 {
			got, err := c.Get(t.Context(), "packs/ab", off, 64<<10)
			if off <= bad && bad < off+64<<10 {
				if !errors.Is(err, syscall.EIO) {
					t.Errorf("the bad place: %v", err)
				}
			} else if err != nil || !bytes.Equal(got, data[off:off+64<<10]) {
				t.Errorf("at %d: %d bytes, %v", off, len(got), err)
			}
		}
		if touched != 2 { // once for the block, once for the part
			t.Errorf("%d reads of the bad place", touched)
		}
		s.hook = nil
		s.reset()
		wantRange(t, c, "packs/ab", data, bad, 10, false)
		time.Sleep(time.Hour)
		for range 3 {
			wantRange(t, c, "packs/ab", data, bad, 10, true)
		}
		if _, reads := s.most(); reads != 2 {
			t.Errorf("%d reads after the store works again, want 2", reads)
		}
		if _, err := c.Get(t.Context(), "packs/missing", 0, 5); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a missing file: %v", err)
		}
	})
}

// TestBlockCacheDrops checks that each call that changes a file, and each that drops it, makes the next read come from
// the store. A new opening, which has not looked into its folder, must do so too.
func TestBlockCacheDrops(t *testing.T) {
	ctx := t.Context()
	const name, other = "packs/ab", "packs/cd"
	for what, change := range map[string]func(c *store.BlockCache, s *fetched) error{
		"put":     func(c *store.BlockCache, _ *fetched) error { return c.Put(ctx, name, randomBytes(7, 3*block)) },
		"move to": func(c *store.BlockCache, _ *fetched) error { return c.Move(ctx, other, name) },
		"move":    func(c *store.BlockCache, _ *fetched) error { return c.Move(ctx, name, other) },
		"delete":  func(c *store.BlockCache, _ *fetched) error { return c.Delete(ctx, name) },
		"drop":    func(c *store.BlockCache, s *fetched) error { c.Drop(name); return s.Mem.Delete(ctx, name) },
		"drop range": func(c *store.BlockCache, s *fetched) error {
			c.DropRange(name, 0, 1<<40)
			return s.Mem.Delete(ctx, name)
		},
		"create": func(c *store.BlockCache, s *fetched) error {
			return errors.Join(s.Mem.Delete(ctx, name), c.Create(ctx, name, randomBytes(8, 3*block)))
		},
	} {
		s, folder := new(fetched), t.TempDir()
		data := putPack(t, s, name, 3*block)
		putPack(t, s, other, block)
		c := blocksOver(t, s, folder, 1<<30)
		wantRange(t, c, name, data, 0, 3*block, false)
		c.Close()
		c = blocksOver(t, s, folder, 1<<30)
		if err := change(c, s); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		want, wantErr := s.Mem.Get(ctx, name, 0, 4*block)
		got, err := c.Get(ctx, name, 0, 4*block)
		if !bytes.Equal(got, want) || (err == nil) != (wantErr == nil) {
			t.Errorf("%s: %d bytes, %v; the store has %d, %v", what, len(got), err, len(want), wantErr)
		}
		c.Close()
	}
}

// TestBlockCacheDropRange checks that DropRange drops the blocks of its range and no others, and that a fetch under way
// is not kept.
func TestBlockCacheDropRange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(fetched)
		data := putPack(t, s, "packs/ab", 4*block)
		c := blocksOver(t, s, t.TempDir(), 1<<30)
		defer c.Close()
		wantRange(t, c, "packs/ab", data, 0, 4*block, false)
		s.reset()
		if !c.DropRange("packs/ab", 2*block-1, 2) || c.DropRange("index/ab", 0, 5) {
			t.Error("DropRange reports the wrong files as kept")
		}
		wantRange(t, c, "packs/ab", data, 0, 4*block, false)
		if s.times["packs/ab"][1] != 1 || s.times["packs/ab"][2] != 1 || s.times["packs/ab"][0]+s.times["packs/ab"][3] != 0 {
			t.Errorf("read again: %v", s.times)
		}

		s.hook = slow(time.Minute)
		c.DropRange("packs/ab", 0, 1)
		var fetching sync.WaitGroup
		fetching.Go(func() { wantRange(t, c, "packs/ab", data, 0, 5, false) })
		synctest.Wait()
		c.DropRange("packs/ab", 0, 1)
		s.reset()
		wantRange(t, c, "packs/ab", data, 0, 5, false) // it does not wait for the first fetch
		fetching.Wait()
		c.DropRange("packs/ab", 0, 1)
		s.reset()
		fetching.Go(func() { wantRange(t, c, "packs/ab", data, 0, 5, false) })
		synctest.Wait()
		c.DropRange("packs/ab", 0, 1)
		fetching.Wait()
		wantRange(t, c, "packs/ab", data, 0, 5, false)
		if s.times["packs/ab"][0] != 2 {
			t.Errorf("a fetch that was dropped was kept: %v", s.times)
		}
	})
}

// TestBlockCacheByTwo has two caches, as of two processes, use one folder: each reads what the other has kept, and a
// walk lets each remove what is too much.
func TestBlockCacheByTwo(t *testing.T) {
	const limit = 8 * blockFile
	s, folder := new(fetched), t.TempDir()
	data := putPack(t, s, "packs/ab", 30*block)
	both := []*store.BlockCache{blocksOver(t, s, folder, limit), blocksOver(t, s, folder, limit)}
	defer both[0].Close()
	defer both[1].Close()
	for i := range int64(30) {
		wantRange(t, both[i%2], "packs/ab", data, i*block, 10, false)
		wantRange(t, both[1-i%2], "packs/ab", data, i*block, 10, false)
	}
	if times, _ := s.most(); times != 1 {
		t.Errorf("a block was read %d times", times)
	}
	both[0].AwaitWalk(t)
	if _, size := blockPaths(t, folder); size > limit {
		t.Errorf("%d bytes, limit %d", size, limit)
	}
	for i := range int64(30) {
		wantRange(t, both[i%2], "packs/ab", data, i*block, 10, false)
	}
}

// BenchmarkBlockCache reads a file in order from a store with a latency of 20 ms, 128 KiB at a time: past the cache,
// into an empty cache, and from a full one.
func BenchmarkBlockCache(b *testing.B) {
	const size, step = 16 * block, 128 << 10
	s := &fetched{hook: slow(20 * time.Millisecond)}
	putPack(b, s, "packs/ab", size)
	dst := make([]byte, step)
	read := func(b *testing.B, s store.Store) {
		for off := int64(0); off < size; off += step {
			if _, err := store.GetInto(context.Background(), s, dst, "packs/ab", off, step); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.Run("none", func(b *testing.B) {
		b.SetBytes(size)
		for b.Loop() {
			read(b, s)
		}
	})
	b.Run("empty", func(b *testing.B) {
		c := blocksOver(b, s, b.TempDir(), 1<<30)
		defer c.Close()
		b.SetBytes(size)
		for b.Loop() {
			c.Drop("packs/ab")
			read(b, c)
		}
	})
	b.Run("full", func(b *testing.B) {
		c := blocksOver(b, s, b.TempDir(), 1<<30)
		defer c.Close()
		read(b, c)
		b.SetBytes(size)
		for b.Loop() {
			read(b, c)
		}
	})
}
