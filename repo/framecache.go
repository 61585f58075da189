package repo

import (
	"container/list"
	"context"
	"sync"

	"platter/chunk"
	"platter/pack"
)

// A FrameCache loads chunks as its Repo does, and keeps the data frames that it decoded last. It suits small reads that are
// close to each other. It is safe for concurrent use. If several calls want the same frame, one decodes it and the others
// wait.
//
// It keeps the promise of Repo.Load: fn gets only chunks whose IDs were verified. It computes a chunk's ID once while the
// frame is cached. A frame that does not decode, or lacks a wanted chunk, is not cached: the next call reads the store
// again.
//
// A pack never changes under its name, so a cached frame is never out of date.
type FrameCache struct {
	repo  *Repo
	bytes int64 // at most, of decoded frames

	mu     sync.Mutex
	held   int64 // bytes of the frames in frames
	frames map[frameKey]*frame
	recent list.List // of *frame: the decoded ones, the most recently used first
}

// A frame is decoded, or one call is decoding it.
type frame struct {
	key       frameKey
	size      int64         // of memory, bytes
	memory    []byte        // that raw is part of
	done      chan struct{} // closed when the fields below are set
	raw       []byte
	err       error // why raw is nil
	abandoned bool  // the context of the decoding call ended

	// Under the cache's mu:
	users int
	cost  int64         // bytes that held counts for it
	place *list.Element // in recent; nil while it is not kept

	mu     sync.Mutex
	proved map[chunk.ID]provedChunk
}

// A provedChunk is the place in a frame, in bytes, of a chunk with a verified ID.
type provedChunk struct{ start, len uint32 }

// provedCost is about how many bytes of memory a proved chunk takes.
const provedCost = 64

// Frames returns a cache of at most the given bytes of decoded frames; 0 caches none. Each call in progress also holds the
// frame that it reads.
func (r *Repo) Frames(bytes int64) *FrameCache {
	return &FrameCache{repo: r, bytes: bytes, frames: map[frameKey]*frame{}}
}

// Workers is Repo.Workers.
func (c *FrameCache) Workers() int { return c.repo.Workers() }

// Load is Repo.Load. Frames of maps are kept by the Repo.
func (c *FrameCache) Load(ctx context.Context, kind chunk.Kind, ids []chunk.ID, fn func(at int, data []byte) error) error {
	if kind != chunk.Data {
		return c.repo.Load(ctx, kind, ids, fn)
	}
	return c.repo.load(ctx, kind, ids, c, fn)
}

// get returns the frame of a wanted chunk, or at least its first n bytes. It calls decode, which may use dst and must
// return so many bytes, unless they are cached or another call is decoding them. The caller must release the frame.
//
// A frame that was decoded in part, and is wanted further, is decoded as a whole: it will probably be wanted more often.
func (c *FrameCache) get(ctx context.Context, w *wanted, n int, decode func(dst []byte, n int) ([]byte, error)) (*frame, error) {
	for {
		c.mu.Lock()
		f, ok := c.frames[w.key()]
		if ok && f.place != nil && len(f.raw) < n {
			n, ok = int(w.Frame.Raw), false
			c.remove(f)
		}
		if !ok {
			f = &frame{key: w.key(), done: make(chan struct{}), users: 1}
			c.add(f, w, n)
			c.mu.Unlock()
			if f.memory == nil {
				f.memory = make([]byte, f.size)
			}
			f.raw, f.err = decode(f.memory, n)
			f.abandoned = f.err != nil && ctx.Err() != nil
			c.settle(f)
			if f.err != nil {
				return nil, f.err
			}
			return f, nil
		}
		f.users++
		if f.place != nil {
			c.recent.MoveToFront(f.place)
		}
		c.mu.Unlock()
		select {
		case <-f.done:
		case <-ctx.Done():
			c.release(f)
			return nil, context.Cause(ctx)
		}
		if f.err == nil && len(f.raw) >= n {
			return f, nil
		}
		c.release(f)
		if f.err != nil && !f.abandoned {
			return nil, f.err
		}
	}
}

// frameStep is what the memory of a frame is rounded up to, in bytes, so that frames of similar length can reuse it.
const frameStep = 256 << 10

// add makes room for the frame of a wanted chunk. It may reuse the memory of an evicted frame. c.mu is held.
func (c *FrameCache) add(f *frame, w *wanted, n int) {
	size := min(int64(pack.PrefixRoom(n)), int64(w.Frame.Raw))
	f.size = (size + frameStep - 1) / frameStep * frameStep
	f.cost = f.size + provedCost*int64(w.Frame.Chunks)
	c.frames[f.key] = f
	c.held += f.cost
	c.trim(func(old *frame) {
		if old.users == 0 && old.size == f.size {
			f.memory = old.memory
		}
	})
}

// settle caches a decoded frame, and wakes the calls that wait for it.
func (c *FrameCache) settle(f *frame) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.err != nil {
		c.remove(f)
	} else {
		c.charge(f)
		f.place = c.recent.PushFront(f)
		c.trim(func(*frame) {})
	}
	close(f.done)
}

// charge counts a frame that turned out to need more memory than was expected. c.mu is held.
func (c *FrameCache) charge(f *frame) {
	if grown := int64(cap(f.raw)) - f.size; grown > 0 && c.frames[f.key] == f {
		f.memory, f.size = f.raw[:cap(f.raw)], f.size+grown
		f.cost, c.held = f.cost+grown, c.held+grown
	}
}

// trim evicts frames until the rest fit the bound. Frames that are being decoded stay. c.mu is held.
func (c *FrameCache) trim(dropped func(*frame)) {
	for c.held > c.bytes && c.recent.Len() > 0 {
		f := c.recent.Back().Value.(*frame)
		c.remove(f)
		dropped(f)
	}
}

// remove evicts a frame. Calls that use it may continue. c.mu is held.
func (c *FrameCache) remove(f *frame) {
	if c.frames[f.key] != f {
		return
	}
	delete(c.frames, f.key)
	c.held -= f.cost
	if f.place != nil {
		c.recent.Remove(f.place)
		f.place = nil
	}
}

// drop evicts a frame that lacks a wanted chunk.
func (c *FrameCache) drop(f *frame) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.remove(f)
}

// release ends the use of a frame by one call.
func (c *FrameCache) release(f *frame) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f.users--
}

// isProved reports whether the chunk's ID was verified before.
func (f *frame) isProved(w *wanted) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	at, ok := f.proved[w.id]
	return ok && at == provedChunk{w.Start, w.Len}
}

func (f *frame) setProved(w *wanted) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.proved == nil {
		f.proved = map[chunk.ID]provedChunk{}
	}
	f.proved[w.id] = provedChunk{w.Start, w.Len}
}
