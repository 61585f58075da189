package backup

import (
	"context"
	"fmt"

	"platter/snapshot/image"
)

// A badRun is a run of a slot that could not be read, or not at the first try.
type badRun struct {
	image.Extent      // counted from the slot's first byte
	again        bool // still to be read around
}

// readParts reads a slot from byte from to byte to. It records excluded ranges and failed reads.
func (r *diskReader) readParts(s *slot, from, to int64) error {
	if r.retrying == nil {
		return r.read(s.buf[from:to], s.pos()+from)
	}
	for e := range r.retrying.Excluded(s.pos()+from, to-from) {
		off := e.Off - s.pos()
		if err := r.tryRead(s, from, off); err != nil {
			return err
		}
		from = off + e.Len
		if r.retrying.Strict() {
			return fmt.Errorf("read at %d: %w", e.Off, image.ErrExcluded)
		}
		clear(s.buf[off:from])
		s.bad = append(s.bad, badRun{Extent: image.Extent{Off: off, Len: e.Len}})
		r.run.progress.Add(e.Len)
	}
	return r.tryRead(s, from, to)
}

// tryRead reads a part of a slot, and postpones a part that fails with a media error.
func (r *diskReader) tryRead(s *slot, from, to int64) error {
	if from == to {
		return nil
	}
	err := r.read(s.buf[from:to], s.pos()+from)
	if err == nil || !r.retrying.CanReadAround(err) {
		return err
	}
	s.bad = append(s.bad, badRun{image.Extent{Off: from, Len: to - from}, true})
	return nil
}

// rescue reads around the failed parts of a slot. Where it retries depends on earlier slots of the region. So the
// result does not depend on which worker reads what and when.
func (r *diskReader) rescue(ctx context.Context, s *slot) {
	if r.around == nil || r.sick != s.job.region {
		r.around, r.sick = r.retrying.Around(), s.job.region
	}
	tried := s.bad
	s.bad = make([]badRun, 0, len(tried))
	lost := int64(0)
	for _, run := range tried {
		if !run.again {
			s.bad, lost = append(s.bad, run), lost+run.Len
			continue
		}
		p := s.buf[run.Off : run.Off+run.Len]
		bad, err := r.around.Read(ctx, p, s.pos()+run.Off, nil)
		if err != nil {
			s.err = &fault{region: s.job.region, err: err}
			return
		}
		well := run.Len
		for _, e := range bad {
			s.bad = append(s.bad, badRun{Extent: image.Extent{Off: e.Off - s.pos(), Len: e.Len}})
			lost, well = lost+e.Len, well-e.Len
		}
		r.run.read.Add(well)
		r.run.progress.Add(run.Len)
	}
	s.zero = lost == int64(s.n)
}

// badRuns are the unreadable runs of a region from the cut position on, in order. They count from the region's first
// byte.
type badRuns []image.Extent

// add appends the unreadable runs of a slot.
func (b *badRuns) add(s *slot) {
	for _, run := range s.bad {
		*b = append(*b, image.Extent{Off: s.off + run.Off, Len: run.Len})
	}
}

// take returns how many bytes from at on are readable, and how many after them are unreadable, both up to end. The
// caller continues after both.
func (b *badRuns) take(at, end int64) (well, bad int64) {
	if len(*b) == 0 || (*b)[0].Off >= end {
		return end - at, 0
	}
	first := &(*b)[0]
	well = first.Off - at
	bad = min(first.Len, end-first.Off)
	first.Off, first.Len = first.Off+bad, first.Len-bad
	if first.Len == 0 {
		*b = (*b)[1:]
	}
	return well, bad
}
