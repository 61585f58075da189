package backup

import (
	"context"

	"golang.org/x/sync/errgroup"
)

// A source says what slots are to hold, and reads it.
type source interface {
	// assign says what a slot shall hold, which follows what the slot before it holds; false when there is nothing more, or
	// when that is not known without waiting and wait is false.
	assign(ctx context.Context, s *slot, wait bool) (bool, error)
	// cached reports whether filling a slot takes no waiting.
	cached(s *slot) bool
	// fill reads a slot, or says in it why not. readers of them may run at once.
	fill(ctx context.Context, s *slot)
	// rescue reads what fill put off, because it depends on the slot before. Slots come in order.
	rescue(ctx context.Context, s *slot)
	readers() int
}

// An ahead reads a source ahead of the cutter. It is not safe for concurrent use.
//
// What has to be waited for is read by goroutines of its own while the cutter works. What the system has in memory is
// read when it is needed and by the core that needs it: going through that core's own cache takes the least time.
type ahead struct {
	src    source
	ring   *ring
	queue  []*slot    // assigned, in the order of the disk
	asked  int        // so many of them were handed to readers
	wanted chan *slot // by readers; room for every slot

	first *slot // of the region that region returned, until it is in view
	final bool  // nothing of the region lies behind the view
	bad   badRuns
}

func newAhead(src source, need int) *ahead {
	r := newRing(need)
	return &ahead{src: src, ring: r, queue: make([]*slot, 0, len(r.slots)), wanted: make(chan *slot, len(r.slots))}
}

// run calls fn, which may use a, while readers fill slots for it.
func (a *ahead) run(ctx context.Context, fn func(context.Context) error) error {
	g, ctx := errgroup.WithContext(ctx)
	for range a.src.readers() {
		g.Go(func() error {
			for s := range a.wanted {
				a.src.fill(ctx, s)
				s.full <- struct{}{} // never blocks: whoever gives the slot out again took this before
			}
			return nil
		})
	}
	g.Go(func() error {
		defer close(a.wanted)
		return fn(ctx)
	})
	return g.Wait()
}

// region goes on to the next region, when the one before was taken whole; false when there is none.
func (a *ahead) region(ctx context.Context) (job regionJob, ok bool, err error) {
	a.first, err = a.slot(ctx)
	if err != nil || a.first == nil || a.first.end {
		return job, false, err
	}
	a.final, a.bad = false, a.bad[:0]
	return a.first.job, true, nil
}

// more adds the region's next slot to the view. The error is that of the read, if it failed.
func (a *ahead) more(ctx context.Context) (err error) {
	s := a.first
	if a.first = nil; s == nil {
		if s, err = a.slot(ctx); err != nil {
			return err
		}
	}
	if s.err != nil {
		return s.err
	}
	if s.zero {
		clear(s.buf[:s.n])
	}
	a.ring.add(s)
	a.bad.add(s)
	a.final = s.last
	return nil
}

// skip passes over the region's next slot, when nothing is in view and all of the slot lies in a hole. It returns its length
// in bytes, 0 when it is no such slot.
func (a *ahead) skip(ctx context.Context) (n int, err error) {
	if len(a.ring.view()) > 0 || a.final {
		return 0, nil
	}
	if a.first == nil {
		if a.first, err = a.slot(ctx); err != nil {
			return 0, err
		}
	}
	s := a.first
	if !s.zero || s.n < slotLen || s.err != nil {
		return 0, nil
	}
	a.bad.add(s)
	a.first, s.busy, a.final = nil, false, s.last
	return s.n, nil
}

// slot returns the next slot, filled; nil when there is nothing more.
func (a *ahead) slot(ctx context.Context) (*slot, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	a.ring.release()
	if err := a.lookAhead(ctx); err != nil || len(a.queue) == 0 {
		return nil, err
	}
	s := a.queue[0]
	a.queue = a.queue[:copy(a.queue, a.queue[1:])]
	if a.asked == 0 {
		a.src.fill(ctx, s)
	} else {
		a.asked--
		select {
		case <-s.full:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	if len(s.bad) > 0 && s.err == nil {
		a.src.rescue(ctx, s)
	}
	return s, nil
}

// lookAhead assigns slots and hands them to readers, as many as are free, up to one that need not be waited for: that one is
// planned and left.
func (a *ahead) lookAhead(ctx context.Context) error {
	if len(a.queue) == 0 {
		a.ring.fold()
	}
	for a.asked == len(a.queue) {
		s := a.ring.vacant()
		if s == nil {
			return nil
		}
		ok, err := a.src.assign(ctx, s, len(a.queue) == 0)
		if !ok || err != nil {
			a.ring.next, s.busy = a.ring.next-1, false
			return err
		}
		a.queue = append(a.queue, s)
		if a.src.cached(s) {
			return nil
		}
		a.wanted <- s // never blocks
		a.asked++
	}
	return nil
}
