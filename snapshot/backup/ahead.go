package backup

import (
	"context"

	"golang.org/x/sync/errgroup"
)

// A source assigns runs of a disk to slots, and reads them.
type source interface {
	// assign assigns to a slot the run after that of the previous slot. It returns false if there are no more runs, or
	// if it would have to wait and wait is false.
	assign(ctx context.Context, s *slot, wait bool) (bool, error)
	// cached reports whether filling a slot needs no waiting.
	cached(s *slot) bool
	// fill reads a slot, or sets its error. Up to readers() calls may run at once.
	fill(ctx context.Context, s *slot)
	// rescue reads what fill postponed, because the result depends on the previous slot. It is called in slot order.
	rescue(ctx context.Context, s *slot)
	readers() int
}

// An ahead reads a source ahead of the cutter. It is not safe for concurrent use.
//
// Its own goroutines read what must be waited for, while the cutter works. What the system has in memory is read only
// when needed, by the core that needs it: that is fastest, because the data passes through that core's own cache.
type ahead struct {
	src    source
	ring   *ring
	queue  []*slot    // assigned slots, in disk order
	asked  int        // the first asked slots of queue were handed to readers
	wanted chan *slot // slots for readers; has room for every slot

	first *slot // of the current region, until it is in view
	final bool  // nothing of the region is left after the view
	bad   badRuns
}

func newAhead(src source, need int) *ahead {
	r := newRing(need)
	return &ahead{src: src, ring: r, queue: make([]*slot, 0, len(r.slots)), wanted: make(chan *slot, len(r.slots))}
}

// run calls fn, which may use a, while readers fill its slots.
func (a *ahead) run(ctx context.Context, fn func(context.Context) error) error {
	g, ctx := errgroup.WithContext(ctx)
	for range a.src.readers() {
		g.Go(func() error {
			for s := range a.wanted {
				a.src.fill(ctx, s)
				s.full <- struct{}{} // never blocks: a slot is reused only after this was received
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

// region advances to the next region; the previous one must be used up. It returns false if there is none.
func (a *ahead) region(ctx context.Context) (job regionJob, ok bool, err error) {
	a.first, err = a.slot(ctx)
	if err != nil || a.first == nil || a.first.end {
		return job, false, err
	}
	a.final, a.bad = false, a.bad[:0]
	return a.first.job, true, nil
}

// more adds the region's next slot to the view. It returns the error of a failed read.
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

// skip passes over the region's next slot, if nothing is in view and the whole slot is a hole. It returns the slot's
// length in bytes, or 0 if it did not skip it.
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

// slot returns the next slot, filled; nil if there are no more.
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

// lookAhead assigns slots and hands them to readers, as many as are free. It stops at the first cached slot, which it
// assigns but does not hand over.
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
