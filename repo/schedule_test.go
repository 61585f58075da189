package repo

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing/synctest"
	"time"

	"platter/repo/layout"
	"platter/repo/store"
)

var errKilled = errors.New("killed")

// A scheduler decides which of several machines does its next store operation, and how much time passes. It also
// decides which machine falls asleep and for how long, which one dies, and which answers are lost. It is not fair. It
// runs in a bubble of testing/synctest. So its time is simulated, and it goes on only when all machines wait for it.
type scheduler struct {
	rnd   *rand.Rand
	mem   *store.Mem    // the server's files
	lag   time.Duration // how old listings may be
	vague bool          // hosts can neither refresh listings nor know their age
	ahead atomic.Int64  // how far the server's clock is ahead of the others, in nanoseconds
	jumps *rand.Rand    // decides when the server's clock is set, and by how much; nil for never

	mu      sync.Mutex
	waiting []*request
	done    int
	trace   []string // operations, in their order
	hosts   []*host
}

// A host is one machine's view of the server.
type host struct {
	*scheduler
	name   string
	mortal bool
	dead   bool
	asleep time.Time // sleeps until then

	listings map[string]*listing // its cached listings
}

// A listing is what a host saw of a folder, plus its own later changes.
type listing struct {
	time  time.Time
	files map[string]store.Info
}

type request struct {
	host *host
	op   string
	run  chan error // nil to go on
}

var (
	_ store.Store     = (*host)(nil)
	_ store.Lagging   = (*host)(nil)
	_ store.Refresher = (*host)(nil)
)

// Close does nothing, because other hosts use the server, too.
func (h *host) Close() error { return nil }

// Lag is what the file system claims: a minute, whatever the real lag is.
func (h *host) Lag() store.Lag {
	switch {
	case h.vague:
		return store.Lag{Unknown: "vague"}
	case h.lag > 0:
		return store.Lag{Time: time.Minute}
	}
	return store.Lag{}
}

// Refresh drops the host's cached listing of a folder.
func (h *host) Refresh(_ context.Context, dir string) error {
	if h.vague {
		return nil
	}
	if err := h.ask("refresh " + dir); err != nil {
		return err
	}
	delete(h.listings, dir)
	return nil
}

// serverTime returns the time by the server's clock.
func (s *scheduler) serverTime() time.Time { return time.Now().Add(time.Duration(s.ahead.Load())) }

// setClock sets the server's clock now and then, by days or minutes, and more often back than forward.
func (s *scheduler) setClock() {
	if s.jumps == nil || s.jumps.IntN(150) > 0 {
		return
	}
	by := time.Duration(s.jumps.IntN(3*24*60)-2*24*60) * time.Minute
	if s.jumps.IntN(2) == 0 {
		by /= 24
	}
	s.ahead.Add(int64(by))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trace = append(s.trace, fmt.Sprintf("%s the server's clock is set by %v", time.Now().Format("02 15:04:05"), by))
}

// intN returns a number below n. It has a mutex, because machines start concurrently.
func (s *scheduler) intN(n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rnd.IntN(n)
}

// ask waits until the scheduler lets the host do its next operation.
func (h *host) ask(op string) error {
	r := &request{h, op, make(chan error)}
	h.mu.Lock()
	h.waiting = append(h.waiting, r)
	h.mu.Unlock()
	return <-r.run
}

// answer loses an answer now and then.
func (h *host) answer(err error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err == nil && h.mortal && h.rnd.IntN(200) == 0 {
		return errBroken
	}
	return err
}

// run runs the machines, one operation at a time, until all have ended.
func (s *scheduler) run(programs map[*host]func(context.Context)) {
	for _, h := range s.hosts {
		go func() {
			programs[h](context.Background())
			s.mu.Lock()
			defer s.mu.Unlock()
			s.done++
		}()
	}
	for {
		synctest.Wait()
		s.mu.Lock()
		ended, at := s.done == len(s.hosts), s.pick()
		var r *request
		if at >= 0 {
			r = s.waiting[at]
			s.waiting = slices.Delete(s.waiting, at, at+1)
		}
		nap := time.Duration(0)
		switch n := s.rnd.IntN(100); {
		case r == nil:
			nap = time.Duration(1+s.rnd.IntN(300)) * time.Second
		case n < 10:
			nap = time.Duration(s.rnd.IntN(60)) * time.Second
		}
		s.mu.Unlock()
		if ended && r == nil {
			return
		}
		if nap > 0 {
			time.Sleep(nap)
		}
		if r != nil {
			s.setClock()
			s.grant(r)
		}
	}
}

// pick chooses a machine that waits and is awake; -1 if there is none.
func (s *scheduler) pick() int {
	var awake []int
	for i, r := range s.waiting {
		if r.host.dead || !time.Now().Before(r.host.asleep) {
			awake = append(awake, i)
		}
	}
	if len(awake) == 0 {
		return -1
	}
	return awake[s.rnd.IntN(len(awake))]
}

func (s *scheduler) grant(r *request) {
	h := r.host
	s.mu.Lock()
	switch n := s.rnd.IntN(1000); {
	case h.dead || !h.mortal:
	case n < 5: // its store stops for good: none of its operations has any effect from now on
		h.dead = true
	case n < 20: // paused completely, for longer than its lease lasts, or for less
		h.asleep = time.Now().Add(time.Duration(s.rnd.IntN(100)) * time.Minute)
		s.waiting = append(s.waiting, r)
		s.mu.Unlock()
		return
	}
	dead := h.dead
	s.trace = append(s.trace, fmt.Sprintf("%s %s: %.24s dead=%t", time.Now().Format("02 15:04:05"), h.name, r.op, dead))
	s.mu.Unlock()
	if dead {
		r.run <- errKilled
	} else {
		r.run <- nil
	}
}

func (h *host) Put(ctx context.Context, name string, data []byte) error {
	if err := h.ask("put " + name); err != nil {
		return err
	}
	err := h.mem.Put(ctx, name, data)
	if err == nil {
		h.saw(name, &store.Info{Name: name, Size: int64(len(data)), ModTime: h.serverTime()})
	}
	return h.answer(err)
}

func (h *host) Create(ctx context.Context, name string, data []byte) error {
	if err := h.ask("create " + name); err != nil {
		return err
	}
	err := h.mem.Create(ctx, name, data)
	if err == nil {
		h.saw(name, &store.Info{Name: name, Size: int64(len(data)), ModTime: h.serverTime()})
	}
	return h.answer(err)
}

func (h *host) Get(ctx context.Context, name string, off, n int64) ([]byte, error) {
	if err := h.ask("get " + name); err != nil {
		return nil, err
	}
	return h.mem.Get(ctx, name, off, n)
}

func (h *host) Delete(ctx context.Context, name string) error {
	if err := h.ask("delete " + name); err != nil {
		return err
	}
	err := h.mem.Delete(ctx, name)
	h.saw(name, nil)
	return h.answer(err)
}

func (h *host) Move(ctx context.Context, from, to string) error {
	if err := h.ask("move " + from); err != nil {
		return err
	}
	err := h.mem.Move(ctx, from, to)
	h.saw(from, nil)
	if err == nil {
		h.saw(to, &store.Info{Name: to, ModTime: h.serverTime()})
	}
	return h.answer(err)
}

func (h *host) Touch(ctx context.Context, name string) error {
	if err := h.ask("touch " + name); err != nil {
		return err
	}
	err := h.mem.Touch(ctx, name)
	if l := h.listings[layout.Dir(name)]; err == nil && l != nil {
		info := l.files[name]
		info.ModTime = h.serverTime()
		h.saw(name, &info)
	}
	return h.answer(err)
}

// saw adds the host's own changes to its cached listings, so that it never misses its own files. Usually it drops the
// rest, as most file systems do.
func (h *host) saw(name string, info *store.Info) {
	l := h.listings[layout.Dir(name)]
	if l == nil {
		return
	}
	if h.intN(4) > 0 {
		delete(h.listings, layout.Dir(name))
		return
	}
	if delete(l.files, name); info != nil {
		l.files[name] = *info
	}
}

// List shows the current files, or those of up to lag ago.
func (h *host) List(ctx context.Context, dir string) iter.Seq2[store.Info, error] {
	return func(yield func(store.Info, error) bool) {
		if err := h.ask("list " + dir); err != nil {
			yield(store.Info{}, err)
			return
		}
		l := h.listings[dir]
		if l == nil || time.Since(l.time) >= h.lag || h.intN(3) == 0 {
			l = &listing{time.Now(), map[string]store.Info{}}
			for info, err := range h.mem.List(ctx, dir) {
				if err != nil {
					yield(info, err)
					return
				}
				l.files[info.Name] = info
			}
			h.listings[dir] = l
		}
		for _, name := range slices.Sorted(maps.Keys(l.files)) {
			if !strings.HasPrefix(name, dir) || !yield(l.files[name], nil) {
				return
			}
		}
	}
}
