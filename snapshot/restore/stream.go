package restore

import (
	"context"
	"io"
	"iter"
	"sync"

	"golang.org/x/sync/errgroup"

	"platter/repo"
	"platter/snapshot"
	"platter/snapshot/diskmap"
)

// stretchSize is how many bytes of a disk are assembled for a stream at a time.
const stretchSize = 8 << 20

// A stretch is a run of a disk on its way into a stream. Its chunks are a batch.
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
func ToStream(ctx context.Context, r Repository, s *snapshot.Snapshot, part snapshot.Part, w io.Writer, p *repo.Progress) error {
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
	p.Expect(m.Length())
	ahead := m.repo.Workers()/2 + 3
	s := &streaming{m: m, order: make(chan *stretch, ahead), slots: make(chan struct{}, ahead)}
	g, ctx := errgroup.WithContext(ctx)
	batches := make(chan repo.Batch)
	g.Go(func() error {
		defer close(s.order)
		defer close(batches)
		return s.feed(ctx, batches)
	})
	g.Go(func() error { return m.repo.Fetch(ctx, batches) })
	g.Go(func() error {
		for next := range s.order {
			if err := s.write(ctx, w, next, p); err != nil {
				return err
			}
		}
		return nil
	})
	return g.Wait()
}

// feed queues the stretches of the disk for writing, and sends those that have chunks to be filled.
func (s *streaming) feed(ctx context.Context, batches chan<- repo.Batch) error {
	for next, err := range s.stretches(ctx) {
		if err != nil {
			return err
		}
		if err := send(ctx, s.slots, struct{}{}); err != nil {
			return err
		}
		next.ready = make(chan struct{})
		s.order <- next // never blocks: order has as much room as slots
		if len(next.wants) == 0 {
			close(next.ready)
			continue
		}
		next.data = s.memory(next.len)
		next.clearGaps()
		if err := send[repo.Batch](ctx, batches, next); err != nil {
			return err
		}
	}
	return nil
}

// stretches cuts the disk into stretches, in order.
func (s *streaming) stretches(ctx context.Context) iter.Seq2[*stretch, error] {
	return func(yield func(*stretch, error) bool) {
		from, to := s.m.Within()
		next := &stretch{off: from}
		flush := func() bool {
			done := next
			next = &stretch{off: done.off + done.len}
			return done.len == 0 || yield(done, nil)
		}
		// Zeros extend a stretch that has room for them; otherwise they are a stretch of their own.
		skip := func(n int64) bool {
			if n <= 0 {
				return true
			}
			if len(next.wants) > 0 && next.len+n <= stretchSize {
				next.len += n
				return true
			}
			if !flush() {
				return false
			}
			next.len = n
			return flush()
		}
		for reg, err := range s.m.Regions(ctx) {
			var places []diskmap.Place
			if err == nil {
				places, err = s.m.Places(ctx, reg.Index, reg.Page)
			}
			if err != nil {
				yield(nil, err)
				return
			}
			if !skip(reg.Index*diskmap.RegionSize - next.off - next.len) {
				return
			}
			for _, q := range places {
				n := min(q.End(), to) - max(q.Off, from)
				if q.Kind != diskmap.Data {
					if !skip(n) {
						return
					}
					continue
				}
				if next.len > 0 && next.len+n > stretchSize && !flush() {
					return
				}
				next.wants = append(next.wants, repo.Want{ID: q.ID, Off: q.Off, Len: q.Len})
				next.len += n
			}
		}
		if skip(to - next.off - next.len) {
			flush()
		}
	}
}

// clearGaps zeroes what the chunks leave of data. The first and the last chunk may reach beyond the part.
func (s *stretch) clearGaps() {
	end := int64(0) // of the previous chunk, in data
	for _, w := range s.wants {
		clear(s.data[end:max(end, w.Off-s.off)])
		end = min(s.len, w.Off-s.off+int64(w.Len))
	}
	clear(s.data[end:])
}

// Wants returns the chunks of the stretch.
func (s *stretch) Wants() []repo.Want { return s.wants }

// Load copies chunks to their places.
func (s *stretch) Load(_ context.Context, got []repo.Got) error {
	for _, g := range got {
		if len(g.Data) != int(g.Len) {
			return diskmap.WrongLength(g.ID, len(g.Data), g.Len)
		}
		diskmap.Overlay(s.data, s.off, g.Data, g.Off)
	}
	return nil
}

// Done lets the stretch be written.
func (s *stretch) Done(context.Context) error {
	close(s.ready)
	return nil
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
