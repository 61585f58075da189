package backup

import (
	"context"
	"io"
	"sync/atomic"

	"platter/snapshot/diskmap"
)

// A streamReader is a source of unknown length.
type streamReader struct {
	src io.Reader
	run *run
	old *guide

	region, off int64     // assigned so far
	before      regionJob // the region, with its page in the parent version
	ended       atomic.Bool
}

// readers is 1, because a stream cannot be read at several offsets.
func (r *streamReader) readers() int { return 1 }

// cached is always false: finding out whether a stream has data waiting takes as long as reading it.
func (r *streamReader) cached(*slot) bool { return false }

func (r *streamReader) assign(_ context.Context, s *slot, _ bool) (bool, error) {
	if r.off == diskmap.RegionSize {
		r.region, r.off = r.region+1, 0
		r.before = regionJob{region: r.region, before: r.old.page(r.region)}
	}
	s.job, s.off = r.before, r.off
	r.off += slotLen
	return !r.ended.Load(), nil
}

// fill reads until the slot is full or the stream ends. It marks slots that were assigned beyond the stream's end.
func (r *streamReader) fill(ctx context.Context, s *slot) {
	if s.end = r.ended.Load(); s.end {
		return
	}
	if c, ok := r.src.(io.Closer); ok {
		defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	}
	var err error
	s.n, err = r.read(s.buf)
	s.last = err == io.EOF || s.off+slotLen == diskmap.RegionSize
	r.ended.Store(err != nil)
	switch {
	case err == nil || err == io.EOF:
	case ctx.Err() != nil: // which closed the stream
		s.err = context.Cause(ctx)
	default:
		s.err = err
	}
}

// rescue does nothing: a stream cannot be read again.
func (r *streamReader) rescue(context.Context, *slot) {}

// read fills p or returns an error, io.EOF at the stream's end. io.ReadFull is unsuitable: for an end within p, it
// returns io.ErrUnexpectedEOF. A stream that broke off returns the same error, and that is not its end.
func (r *streamReader) read(p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var m int
		m, err = r.src.Read(p[n:])
		n += m
		r.run.size += int64(m)
		r.run.read.Add(int64(m))
		r.run.progress.Add(int64(m))
	}
	return n, err
}
