package restore

import (
	"context"
	"io"
	"sync"

	"golang.org/x/sync/errgroup"

	"platter/repo"
	"platter/snapshot"
	"platter/snapshot/diskmap"
)

// stretchSize is how many bytes of a disk are assembled for a stream at a time.
const stretchSize = 8 << 20

// A stretch is a run of a disk on its way into a stream.
type stretch struct {
	off, len int64         // bytes
	data     []byte        // nil for zeros
	wants    []repo.Want   // chunks that belong in data
	ready    chan struct{} // closed when data is complete
}

// A streaming writes a disk into a stream. It fills stretches on all cores and writes them in order. No chunk is in two
// stretches, and few frames are: a stretch is as long as eight.
type streaming struct {
	m     *content
	order chan *stretch // in the order of writing
	slots chan struct{} // one for each stretch that may be in memory
	spare sync.Pool     // of *[]byte
}

// A skipper is a writer that can skip zeros, as most writers of image files can.
type skipper interface {
	io.Writer
	Skip(n int64) error // the next n bytes are zeros
}

// ToStream writes a part of the snapshot's disk to w from first byte to last. It writes zeros too, unless w is a
// skipper.
func ToStream(ctx context.Context, r *repo.Repo, s *snapshot.Snapshot, part snapshot.Part, w io.Writer, p *repo.Progress) error {
	m, err := contentOf(r, s, part)
	if err != nil {
		return err
	}
	if _, err := m.lookAhead(ctx, nil); err != nil {
		return err
	}
	return m.writeStream(ctx, w, p)
}

func (m *content) writeStream(ctx context.Context, w io.Writer, p *repo.Progress) error {
	r := m.repo
	p.Expect(m.Length())
	ahead := r.Workers()/2 + 3
	st := &streaming{m: m, order: make(chan *stretch, ahead), slots: make(chan struct{}, ahead)}
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(st.order)
		return r.Fetch(gctx, st.feed)
	})
	g.Go(func() error {
		for next := range st.order {
			if err := st.write(gctx, w, next, p); err != nil {
				return err
			}
		}
		return nil
	})
	return g.Wait()
}

// feed cuts the disk into stretches and has them filled.
func (s *streaming) feed(ctx context.Context, put func(*repo.Batch) error) error {
	from, to := s.m.Within()
	next := &stretch{off: from}
	flush := func() error {
		done := next
		next = &stretch{off: done.off + done.len}
		return s.send(ctx, done, put)
	}
	// Zeros extend a stretch that has room for them; otherwise they are a stretch of their own.
	skip := func(n int64) error {
		if len(next.wants) > 0 && next.len+n <= stretchSize {
			next.len += n
			return nil
		}
		if err := flush(); err != nil {
			return err
		}
		next.len = n
		return flush()
	}
	for reg, err := range s.m.Regions(ctx) {
		if err != nil {
			return err
		}
		places, err := s.m.Places(ctx, reg.Index, reg.Page)
		if err != nil {
			return err
		}
		if gap := reg.Index*diskmap.RegionSize - next.off - next.len; gap > 0 {
			if err := skip(gap); err != nil {
				return err
			}
		}
		for _, q := range places {
			n := min(q.End(), to) - max(q.Off, from)
			if q.Kind != diskmap.Data {
				err = skip(n)
			} else if next.len > 0 && next.len+n > stretchSize {
				err = flush()
			}
			if err != nil {
				return err
			}
			if q.Kind == diskmap.Data {
				next.wants = append(next.wants, repo.Want{ID: q.ID, Off: q.Off, Len: q.Len})
				next.len += n
			}
		}
	}
	if gap := to - next.off - next.len; gap > 0 {
		if err := skip(gap); err != nil {
			return err
		}
	}
	return flush()
}

// send queues a stretch for writing, and puts the chunks that it needs in a batch.
func (s *streaming) send(ctx context.Context, next *stretch, put func(*repo.Batch) error) error {
	if next.len == 0 {
		return nil
	}
	select {
	case s.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	next.ready = make(chan struct{})
	s.order <- next // never blocks: order has as much room as slots
	if len(next.wants) == 0 {
		close(next.ready)
		return nil
	}
	next.data = s.memory(next.len)
	end := int64(0)                // of the previous chunk, in data
	for _, w := range next.wants { // the first and the last chunk may reach beyond the part
		clear(next.data[end:max(end, w.Off-next.off)])
		end = min(next.len, w.Off-next.off+int64(w.Len))
	}
	clear(next.data[end:])
	return put(&repo.Batch{
		Wants: next.wants,
		Load: func(_ context.Context, got []repo.Got) error {
			for _, g := range got {
				if len(g.Data) != int(g.Len) {
					return diskmap.WrongLength(g.ID, len(g.Data), g.Len)
				}
				diskmap.Overlay(next.data, next.off, g.Data, g.Off)
			}
			return nil
		},
		Done: func(context.Context) error { close(next.ready); return nil },
	})
}

// memory returns n bytes of any content.
func (s *streaming) memory(n int64) []byte {
	if buf, ok := s.spare.Get().(*[]byte); ok && int64(len(*buf)) >= n {
		return (*buf)[:n]
	}
	return make([]byte, max(n, stretchSize))[:n]
}

// write waits for a stretch and writes it.
func (s *streaming) write(ctx context.Context, w io.Writer, next *stretch, p *repo.Progress) error {
	select {
	case <-next.ready:
	case <-ctx.Done():
		return ctx.Err()
	}
	data := next.data
	if skip, ok := w.(skipper); ok && data == nil {
		p.Add(next.len)
		return s.done(next, skip.Skip(next.len))
	}
	for left := next.len; left > 0; left -= int64(len(data)) {
		if next.data == nil {
			data = zeros[:min(left, int64(len(zeros)))]
		}
		if _, err := w.Write(data); err != nil {
			return err
		}
		p.Add(int64(len(data)))
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return s.done(next, nil)
}

// done frees the stretch's memory and slot.
func (s *streaming) done(last *stretch, err error) error {
	if data := last.data; data != nil {
		data = data[:cap(data)]
		s.spare.Put(&data)
	}
	<-s.slots
	return err
}
