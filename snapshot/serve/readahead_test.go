package serve

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
)

// A fakeDisk records what is loaded ahead.
type fakeDisk struct {
	size int64
	hold chan struct{} // not nil: a load waits for it

	mu      sync.Mutex
	loaded  map[int64]int // steps
	running int
	most    int
}

func (d *fakeDisk) Size() int64 { return d.size }

func (d *fakeDisk) Prefetch(ctx context.Context, off, n int64) error {
	d.mu.Lock()
	for at := off / step; at*step < off+n; at++ {
		d.loaded[at]++
	}
	d.running++
	d.most = max(d.most, d.running)
	d.mu.Unlock()
	if d.hold != nil {
		select {
		case <-d.hold:
		case <-ctx.Done():
		}
	}
	d.mu.Lock()
	d.running--
	d.mu.Unlock()
	return ctx.Err()
}

func newFake(size int64) *fakeDisk { return &fakeDisk{size: size, loaded: map[int64]int{}} }

// TestReadAheadOfStreams holds that several interleaved streams, with requests out of order, are each loaded ahead, that no
// step is loaded twice, and that nothing beyond the disk is.
func TestReadAheadOfStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, end := context.WithCancel(t.Context())
		d := newFake(1<<30 + 5)
		all := newPrefetcher(ctx, 64<<20)
		a := newReadAhead(d, all)
		const block, streams = 128 << 10, 4
		for i := range int64(48 << 20 / block) {
			for s := range int64(streams) {
				a.note(s*(256<<20)+(i^1)*block, block) // pairs are swapped
			}
			synctest.Wait()
		}
		for s := range int64(streams) {
			for at := int64(1); at <= 48<<20/step; at++ {
				if n := d.loaded[s*(256<<20)/step+at]; n != 1 {
					t.Fatalf("stream %d: step %d was loaded %d times", s, at, n)
				}
			}
			if n := d.loaded[s*(256<<20)/step+48<<20/step+maxWindow/step+2]; n > 0 {
				t.Errorf("stream %d is too far ahead", s)
			}
		}
		for at := d.size - 4<<20; at < d.size; at += block {
			a.note(at, block)
			synctest.Wait()
		}
		for at := range d.loaded {
			if at*step >= d.size {
				t.Errorf("step %d is not on the disk", at)
			}
		}
		end()
		all.wait()
	})
}

// TestReadAheadOfNothing holds that reads at random, of the same place, backward or with wide gaps load nothing.
func TestReadAheadOfNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newFake(1 << 40)
		all := newPrefetcher(t.Context(), 64<<20)
		random := rand.New(rand.NewPCG(1, 2))
		for name, next := range map[string]func(i int64) int64{
			"random":   func(int64) int64 { return random.Int64N(d.size) &^ 4095 },
			"gaps":     func(i int64) int64 { return i * 1 << 20 },
			"backward": func(i int64) int64 { return d.size - (i+1)*8<<20 },
		} {
			a := newReadAhead(d, all)
			for i := range int64(5000) {
				a.note(next(i), 4096)
			}
			synctest.Wait()
			if len(d.loaded) > 0 {
				t.Errorf("%s: %d steps were loaded", name, len(d.loaded))
				clear(d.loaded)
			}
		}
	})
}

// TestReadAheadIsBounded holds that a store that does not answer is asked for a bounded number of steps.
func TestReadAheadIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, end := context.WithCancel(t.Context())
		d := newFake(1 << 40)
		d.hold = make(chan struct{})
		all := newPrefetcher(ctx, 1<<30)
		a, b := newReadAhead(d, all), newReadAhead(d, all)
		for i := range int64(4000) {
			a.note(i<<17, 128<<10)
			b.note(i<<17, 128<<10)
		}
		synctest.Wait()
		if d.most > inFlight || d.most < inFlight/2 {
			t.Errorf("%d steps at once", d.most)
		}
		end()
		all.wait()
		if d.running > 0 {
			t.Errorf("%d steps after the end", d.running)
		}
	})
}
