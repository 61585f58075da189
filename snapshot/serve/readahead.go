package serve

import (
	"context"
	"slices"
	"sync"
)

const (
	// step is the unit of read-ahead in bytes: about a frame.
	step = 2 << 20
	// inFlight is the most steps that are loaded at once, over all disks. On a slow store each waits for an answer.
	inFlight = 16
	// maxStreams is the most sequential readers of one disk that are followed at once.
	maxStreams = 16
	// slack is how far a read may be from where its stream is expected, in bytes. A kernel sends the reads of one stream
	// in any order, and a client with several connections does too.
	slack = 4 << 20
	// triggers is how many bytes a reader must have read before more is loaded than it asked for.
	triggers = 192 << 10
	// maxWindow is how far ahead of a stream is loaded at most, in bytes.
	maxWindow = inFlight * step
)

// A loader loads a range of a disk into a cache. *snapshot.Disk is one.
type loader interface {
	Size() int64
	Prefetch(ctx context.Context, off, n int64) error
}

// A prefetcher bounds what is loaded ahead for all disks of a Library.
type prefetcher struct {
	ctx   context.Context
	tasks sync.WaitGroup
	bytes int64 // that all streams together may be ahead

	mu      sync.Mutex
	running int
}

func newPrefetcher(ctx context.Context, bytes int64) *prefetcher {
	return &prefetcher{ctx: ctx, bytes: bytes}
}

// start runs fn unless too much is being loaded already, and reports whether it does.
func (p *prefetcher) start(fn func(ctx context.Context)) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running == inFlight || p.ctx.Err() != nil {
		return false
	}
	p.running++
	p.tasks.Go(func() {
		fn(p.ctx)
		p.mu.Lock()
		p.running--
		p.mu.Unlock()
	})
	return true
}

// wait returns once nothing is being loaded. The context must have ended.
func (p *prefetcher) wait() { p.tasks.Wait() }

// A readAhead finds the sequential streams among the reads of a disk, and loads what they will read next.
type readAhead struct {
	disk loader
	all  *prefetcher

	mu      sync.Mutex
	streams []*stream // the one used last is the last
}

// A stream is a reader that goes forward.
type stream struct {
	from    int64 // where it began
	next    int64 // the end of what it read, bytes
	read    int64 // bytes so far
	ahead   int64 // all before this offset was loaded or is being loaded
	window  int64 // how far to be ahead of next, bytes
	running int   // steps being loaded
}

func newReadAhead(disk loader, all *prefetcher) *readAhead { return &readAhead{disk: disk, all: all} }

// note records a read of n bytes at off, and starts to load what will follow it.
func (a *readAhead) note(off, n int64) {
	if n <= 0 || off < 0 || off >= a.disk.Size() {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.stream(off, n)
	s.read += n
	s.next = max(s.next, off+n)
	if s.goesOn() {
		a.load(s)
	}
}

// goesOn reports whether the stream is likely to read on: it read enough, and left little out.
func (s *stream) goesOn() bool { return s.read >= triggers && s.read >= (s.next-s.from)/4 }

// stream returns the stream that a read belongs to, as the last of the list. a.mu is held.
func (a *readAhead) stream(off, n int64) *stream {
	for i := len(a.streams) - 1; i >= 0; i-- {
		s := a.streams[i]
		if off+n < s.next-slack || off > s.next+slack {
			continue
		}
		a.streams = append(slices.Delete(a.streams, i, i+1), s)
		return s
	}
	if len(a.streams) == maxStreams {
		a.streams = slices.Delete(a.streams, 0, 1)
	}
	s := &stream{from: off, next: off, window: step}
	a.streams = append(a.streams, s)
	return s
}

// load starts to load up to the window's end. a.mu is held.
func (a *readAhead) load(s *stream) {
	busy := 1
	for _, other := range a.streams {
		if other != s && other.goesOn() {
			busy++
		}
	}
	limit := min(maxWindow, a.all.bytes/int64(busy))
	s.ahead = max(s.ahead, s.next)
	end := min(s.next+min(s.window, limit), a.disk.Size())
	for s.ahead < end && s.running < max(2, inFlight/busy) {
		from, to := s.ahead, min((s.ahead/step+1)*step, a.disk.Size())
		started := a.all.start(func(ctx context.Context) {
			err := a.disk.Prefetch(ctx, from, to-from)
			a.mu.Lock()
			defer a.mu.Unlock()
			s.running--
			if err != nil { // the read itself reports it
				s.window = step
			}
		})
		if !started {
			return
		}
		s.running++
		s.ahead = to
		s.window = min(2*s.window, maxWindow)
	}
}
