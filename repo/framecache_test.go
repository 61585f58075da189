package repo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"testing"

	"golang.org/x/sync/errgroup"

	"platter/chunk"
	"platter/pack"
	"platter/repo/layout"
	"platter/repo/store"
	"platter/repo/store/storetest"
)

// packReads counts reads of packs, and passes what they read to a function.
type packReads struct {
	reads atomic.Int64
	read  func(ctx context.Context, data []byte) error // nil for nothing
}

func (p *packReads) got(ctx context.Context, _ string, _ int64, data []byte) error {
	if p.reads.Add(1); p.read != nil {
		return p.read(ctx, data)
	}
	return nil
}

// cacheSample returns a repository with n frames of eleven chunks, the reads of its packs, and its chunks of data.
func cacheSample(t *testing.T, n int) (*Repo, *packReads, []saved) {
	t.Helper()
	settings := DefaultSettings
	settings.FrameSize, settings.PackSize = 64<<10, 1<<20
	s := new(packReads)
	r, err := Init(t.Context(), &storetest.Faulty{Store: new(store.Mem), Got: storetest.In(layout.Packs, s.got)}, []byte("pw"), cheap, "test", settings)
	if err != nil {
		t.Fatal(err)
	}
	var data []saved
	for _, c := range mustSave(t, r, noiseChunks(9, n*12, 6000)) {
		if c.kind == chunk.Data {
			data = append(data, c)
		} else if err := cachedLoad(t.Context(), r.Frames(1<<20), c); err != nil { // a map
			t.Fatal(err)
		}
	}
	s.reads.Store(0)
	return r, s, data
}

// cachedLoad loads chunks of one kind through a cache; the error is errWrongBytes where they load as something else.
func cachedLoad(ctx context.Context, c *FrameCache, chunks ...saved) error {
	ids, calls := []chunk.ID(nil), 0
	for _, s := range chunks {
		ids = append(ids, s.id)
	}
	err := c.Load(ctx, chunks[0].kind, ids, func(at int, data []byte) error {
		if calls++; !bytes.Equal(data, chunks[at].data) {
			return errWrongBytes
		}
		return nil
	})
	if err == nil && calls != len(chunks) {
		err = fmt.Errorf("%w: %d calls for %d chunks", errWrongBytes, calls, len(chunks))
	}
	return err
}

// counted returns how many bytes a cache holds, and fails where its books are wrong, or it keeps more than it may beside the
// frames of so many calls.
func (c *FrameCache) counted(t *testing.T, calls int) int64 {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	held, kept := int64(0), int64(0)
	for _, f := range c.frames {
		held += f.cost
		if f.place != nil {
			kept += f.cost
			if int64(cap(f.memory)) > f.cost {
				t.Errorf("a frame in %d bytes counts as %d", cap(f.memory), f.cost)
			}
		}
		if calls == 0 && f.users != 0 {
			t.Errorf("a frame has %d users", f.users)
		}
	}
	if held != c.held || kept > c.bytes || len(c.frames) > c.recent.Len()+calls {
		t.Errorf("%d bytes held, %d counted; %d of %d kept; %d frames, %d kept", c.held, held, kept, c.bytes, len(c.frames), c.recent.Len())
	}
	return held
}

// TestFrameCacheBound loads chunks at random through small caches from many goroutines: all are right, and no cache keeps more
// than it may.
func TestFrameCacheBound(t *testing.T) {
	const goroutines, rounds = 6, 150
	r, s, chunks := cacheSample(t, 12)
	for _, size := range []int64{0, 1 << 10, 300 << 10, 1 << 20, 64 << 20} {
		s.reads.Store(0)
		c := r.Frames(size)
		g, ctx := errgroup.WithContext(t.Context())
		for i := range goroutines {
			rnd := rand.New(rand.NewPCG(uint64(size), uint64(i)))
			g.Go(func() error {
				for range rounds {
					wanted := make([]saved, 1+rnd.IntN(4))
					for i := range wanted {
						wanted[i] = chunks[rnd.IntN(len(chunks))]
					}
					if err := cachedLoad(ctx, c, wanted...); err != nil {
						return err
					}
					c.counted(t, goroutines)
				}
				return nil
			})
		}
		if err := g.Wait(); err != nil {
			t.Fatal(err)
		}
		held, reads := c.counted(t, 0), s.reads.Load()
		switch {
		case size < 300<<10 && held > 0:
			t.Errorf("a cache of %d bytes holds %d", size, held)
		case size == 1<<20 && (held < size/2 || reads > goroutines*rounds*3):
			t.Errorf("a cache of %d bytes holds %d after %d reads", size, held, reads)
		case size == 64<<20 && reads > 40: // a read may be of two frames
			t.Errorf("%d reads though all fits", reads)
		}
	}
}

// TestFrameCacheInPart loads single chunks of long frames, whose beginning alone is decoded then, and others of the same
// frames. All are right, a frame is read at most twice, and what is decoded in part takes less memory.
func TestFrameCacheInPart(t *testing.T) {
	s := new(packReads)
	r, err := Init(t.Context(), &storetest.Faulty{Store: new(store.Mem), Got: storetest.In(layout.Packs, s.got)}, []byte("pw"), cheap, "test", DefaultSettings)
	if err != nil {
		t.Fatal(err)
	}
	chunks := noiseChunks(3, 60, 90_000) // of data and maps
	for i := range chunks {
		for at, b := range chunks[i] {
			chunks[i][at] = "all work and no play makes"[b%26]
		}
	}
	var data []saved
	for _, c := range mustSave(t, r, chunks) {
		if c.kind == chunk.Data {
			data = append(data, c)
		}
	}
	frames := map[frameKey]bool{}
	for _, c := range data {
		at, _ := r.Index().Lookup(c.id)
		frames[frameKey{at.Pack, at.Offset}] = true
	}
	rnd := rand.New(rand.NewPCG(4, 4))
	for range 30 {
		s.reads.Store(0)
		c := r.Frames(64 << 20)
		if err := cachedLoad(t.Context(), c, data[0]); err != nil {
			t.Fatal(err)
		}
		if held := c.counted(t, 0); held > 600<<10 {
			t.Errorf("the first chunk of a frame takes %d bytes", held)
		}
		for _, i := range rnd.Perm(len(data)) {
			if err := cachedLoad(t.Context(), c, data[i]); err != nil {
				t.Fatal(err)
			}
		}
		c.counted(t, 0)
		if n := int(s.reads.Load()); n > 2*len(frames) || n < len(frames) {
			t.Fatalf("%d reads of %d frames", n, len(frames))
		}
	}
}

// TestFrameCacheDecodesOnce checks that many calls which want one frame read it once, and none after them.
func TestFrameCacheDecodesOnce(t *testing.T) {
	r, s, chunks := cacheSample(t, 1)
	c, gate := r.Frames(1<<20), make(chan struct{})
	s.read = func(context.Context, []byte) error { <-gate; return nil }
	g, ctx := errgroup.WithContext(t.Context())
	for i := range 8 {
		g.Go(func() error { return cachedLoad(ctx, c, chunks[i:i+4]...) })
	}
	c.awaitUsers(8)
	close(gate)
	err := g.Wait()
	if err == nil {
		err = cachedLoad(t.Context(), c, chunks[:11]...)
	}
	if n := s.reads.Load(); err != nil || n != 1 {
		t.Fatalf("%d reads, %v", n, err)
	}
}

// awaitUsers waits until so many calls want the only frame of a cache.
func (c *FrameCache) awaitUsers(n int) {
	for users := 0; users < n; runtime.Gosched() {
		c.mu.Lock()
		for _, f := range c.frames {
			users = f.users
		}
		c.mu.Unlock()
	}
}

// TestFrameCacheCancelled checks that a call whose context ends does not end others that want the same frame, whether it is the
// call that decodes it or one that waits.
func TestFrameCacheCancelled(t *testing.T) {
	r, s, chunks := cacheSample(t, 1)
	for _, decodes := range []bool{true, false} {
		c, gate := r.Frames(1<<20), make(chan struct{})
		s.reads.Store(0)
		s.read = func(ctx context.Context, _ []byte) error {
			select {
			case <-gate:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		first, second := ctx, t.Context()
		if !decodes {
			first, second = second, first
		}
		call := func(ctx context.Context, at int) chan error {
			ended := make(chan error, 1)
			go func() { ended <- cachedLoad(ctx, c, chunks[at]) }()
			return ended
		}
		ended := map[context.Context]chan error{}
		ended[first] = call(first, 0)
		for s.reads.Load() == 0 {
			runtime.Gosched()
		}
		ended[second] = call(second, 1)
		c.awaitUsers(2)
		cancel()
		if err := <-ended[ctx]; !errors.Is(err, context.Canceled) {
			t.Errorf("decodes %v: the cancelled call ended with %v", decodes, err)
		}
		close(gate)
		if err := <-ended[t.Context()]; err != nil {
			t.Errorf("decodes %v: the other call: %v", decodes, err)
		}
		if held := c.counted(t, 0); held == 0 {
			t.Errorf("decodes %v: the other call's frame is not kept", decodes)
		}
	}
}

// TestFrameCacheDamage checks that a frame which does not open is an error each time it is wanted, and only for as long as the
// store has it so.
func TestFrameCacheDamage(t *testing.T) {
	r, s, chunks := cacheSample(t, 1)
	c := r.Frames(1 << 20)
	s.read = func(_ context.Context, data []byte) error { data[len(data)/2] ^= 1; return nil }
	for range 3 {
		before := s.reads.Load()
		if err := cachedLoad(t.Context(), c, chunks[0]); !errors.Is(err, pack.ErrDamaged) {
			t.Fatalf("a damaged frame loads with %v", err)
		}
		if held := c.counted(t, 0); held != 0 || s.reads.Load() == before {
			t.Fatalf("%d bytes are kept of a damaged frame, after %d reads", held, s.reads.Load()-before)
		}
	}
	s.read = nil
	if err := cachedLoad(t.Context(), c, chunks[:11]...); err != nil {
		t.Fatal(err)
	}
}

// TestFrameCacheProves checks that a kept frame is no reason to believe a chunk: one whose ID was not computed yet is computed,
// and a frame that does not hold it is not kept.
func TestFrameCacheProves(t *testing.T) {
	r, s, chunks := cacheSample(t, 1)
	c := r.Frames(1 << 20)
	if err := cachedLoad(t.Context(), c, chunks[0], chunks[2], chunks[3], chunks[4]); err != nil { // the whole frame
		t.Fatal(err)
	}
	at, _ := r.Index().Lookup(chunks[1].id)
	c.frames[frameKey{at.Pack, at.Offset}].raw[at.Start] ^= 1
	if err := cachedLoad(t.Context(), c, chunks[0]); err != nil || s.reads.Load() != 1 {
		t.Fatalf("the chunk beside it: %d reads, %v", s.reads.Load(), err)
	}
	if err := cachedLoad(t.Context(), c, chunks[1]); err != nil { // which is read once more, by itself
		t.Fatal(err)
	}
	if held := c.counted(t, 0); held != 0 {
		t.Errorf("%d bytes are kept of a frame with other bytes", held)
	}
}
