package lease

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"platter/pack"
	"platter/repo/crypt"
	"platter/repo/layout"
	"platter/repo/store"
)

// Options are what a Holder needs from its repository. All fields are required.
type Options struct {
	Store  func() store.Store               // the store of the work directory, which may change
	Box    func(p crypt.Purpose) *crypt.Box // the box of the repository's keys
	Now    func() time.Time                 // this machine's clock, for display
	IsDead func(Lease) bool                 // whether a holder is known to be dead; Lease.IsDead except in tests
	Begin  func(ctx context.Context) error  // runs before a Hold puts its first lease
	Settle func(ctx context.Context) error  // waits for listings to show earlier writes, if they cannot be refreshed
}

// A Holder takes leases for one open repository. It is safe for concurrent use.
type Holder struct {
	o Options

	mu    sync.Mutex
	users int          // running Holds; they share one lease
	id    pack.FileID  // of the lease
	ack   *pack.FileID // of the lease's acknowledgement; nil if there is none
	found *State       // the state when the lease was taken

	committing sync.Mutex // pending files have the lease's name, so only one may exist at a time
}

// New returns a Holder that holds nothing.
func New(o Options) *Holder { return &Holder{o: o} }

// Held returns the file ID of the lease that this Holder holds, and the state when it took the lease. ok is false if it
// holds none.
func (h *Holder) Held() (id pack.FileID, found *State, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.users == 0 {
		return pack.FileID{}, nil, false
	}
	return h.id, h.found, true
}

// Time returns when the held lease was put, by the store's clock. It is zero without a lease.
func (h *Holder) Time() time.Time {
	id, found, ok := h.Held()
	if !ok {
		return time.Time{}
	}
	return found.Leases[id].Time
}

// Hold runs fn under a lease. Neither backups nor prunes wait for the other, because Hold keeps an order. First the
// lease is durable, then it reads the markers, and only then does fn read what it builds on. So fn must reload its
// index.
//
// If another process ends the lease, the context of fn ends with ErrLost as its cause. Inside another Hold of the same
// Holder, Hold only runs fn. The error wraps ErrInUse if the work is exclusive and another process does exclusive work.
func (h *Holder) Hold(ctx context.Context, work Work, fn func(context.Context) error) error {
	if err := h.Acquire(ctx, work); err != nil {
		return err
	}
	lctx, lost := context.WithCancelCause(ctx)
	var keeper sync.WaitGroup
	keeper.Go(func() { h.keep(lctx, lost) })
	err := fn(lctx)
	if cause := context.Cause(lctx); err != nil && errors.Is(cause, ErrLost) {
		err = cause
	}
	lost(nil)
	keeper.Wait()
	h.Release(ctx)
	return err
}

// Acquire puts a lease and reads the markers, unless this Holder holds a lease already. It does not keep touching the
// lease; Hold does.
func (h *Holder) Acquire(ctx context.Context, work Work) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.users > 0 {
		h.users++
		return nil
	}
	if err := h.o.Begin(ctx); err != nil {
		return err
	}
	l := h.new(work)
	id, err := h.Put(ctx, l)
	if err != nil {
		return fmt.Errorf("take a lease: %w", err)
	}
	h.ack = nil
	found, err := h.readAfter(ctx)
	if err == nil {
		h.ack, err = h.acknowledge(ctx, id, l, found)
	}
	if err != nil {
		h.drop(ctx, id)
		return fmt.Errorf("take a lease: %w", err)
	}
	h.users, h.id, h.found = 1, id, found
	return nil
}

// Release ends one Acquire. The last one deletes the lease.
func (h *Holder) Release(ctx context.Context) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.users--; h.users == 0 {
		if h.ack != nil {
			h.drop(ctx, *h.ack)
		}
		h.drop(ctx, h.id)
	}
}

func (h *Holder) new(work Work) Lease {
	return Lease{Work: work, Host: hostname(), PID: os.Getpid(), Boot: thisBoot(), Time: h.o.Now().UTC().Truncate(time.Second)}
}

func hostname() string {
	host, _ := os.Hostname() // for display
	return host
}

// readAfter reads the state after a lease was put. If the store may show an older state, it waits.
func (h *Holder) readAfter(ctx context.Context) (*State, error) {
	if err := h.o.Settle(ctx); err != nil {
		return nil, err
	}
	return h.ReadNow(ctx)
}

// acknowledge fails if another process does exclusive work. Otherwise it puts a file that lists the markers.
func (h *Holder) acknowledge(ctx context.Context, id pack.FileID, l Lease, s *State) (*pack.FileID, error) {
	own := s.Leases[id]
	if l.Work.Exclusive() {
		stuck := h.Redate(ctx, s, own.Time)
		for other, held := range s.Leases {
			if other != id && held.Value.Work.Exclusive() && !h.Expired(held, own.Time) {
				return nil, &InUseError{held.Value, inFuture(held.Time, own.Time), stuck}
			}
		}
	} else if err := s.fault(); err != nil {
		return nil, err
	}
	if l.Acknowledged = s.MarkerIDs(); len(l.Acknowledged) == 0 {
		return nil, nil
	}
	l.Of = &id
	ack, err := h.Put(ctx, l)
	return &ack, err
}

// Expired reports whether the holder of a lease is dead or was silent for too long. now is by the store's clock.
func (h *Holder) Expired(l Dated[Lease], now time.Time) bool {
	return now.Sub(l.Time) >= ExpiresAfter || h.o.IsDead(l.Value)
}

// Redate touches leases dated in the future, and unreadable files with such dates, which may be leases. The store's
// clock was set back, or is wrong. Nothing shows whether their holders are alive, so each counts as if its holder
// touched it now. So no lease ends too early, and a dead holder's lease ends ExpiresAfter from now at the latest. A
// lease that was deleted meanwhile does not come back.
func (h *Holder) Redate(ctx context.Context, s *State, now time.Time) error {
	dates := map[pack.FileID]time.Time{}
	for id, l := range s.Leases {
		dates[id] = l.Time
	}
	for id, l := range s.Unreadable {
		dates[id] = l.Time
	}
	var errs []error
	for id, touched := range dates {
		if !inFuture(touched, now) {
			continue
		}
		if err := h.touch(ctx, id); err != nil && !layout.IsMissing(err) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// inFuture reports whether a lease is dated so late that no touch since now was read explains it.
func inFuture(touched, now time.Time) bool { return !now.IsZero() && touched.Sub(now) > TouchEvery }

// keep touches the lease until ctx ends. If the store does not answer, keep tries again: a later answer shows whether
// the lease is still there.
func (h *Holder) keep(ctx context.Context, lost context.CancelCauseFunc) {
	touching(ctx, func() bool {
		if layout.IsMissing(h.touch(ctx, h.id)) {
			lost(ErrLost)
			return false
		}
		return true
	})
}

func (h *Holder) touch(ctx context.Context, id pack.FileID) error {
	return h.o.Store().Touch(ctx, layout.Name(layout.Work, id))
}

// touching calls touch every TouchEvery, until ctx ends or touch returns false.
func touching(ctx context.Context, touch func() bool) {
	tick := time.NewTicker(TouchEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if !touch() {
				return
			}
		}
	}
}

// drop deletes a lease. If that fails, or deletion is not allowed, the lease expires.
func (h *Holder) drop(ctx context.Context, id pack.FileID) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), deleteWithin)
	defer cancel()
	_ = h.o.Store().Delete(ctx, layout.Name(layout.Work, id))
}

// Check returns ErrLost if the held lease is missing.
func (h *Holder) Check(ctx context.Context) error {
	id, _, _ := h.Held()
	_, err := h.o.Store().Get(ctx, layout.Name(layout.Work, id), 0, 1)
	if layout.IsMissing(err) {
		return ErrLost
	}
	return err
}

// Commit gives a snapshot or an index file its name. The error wraps ErrLost if the lease was lost; then the file has
// no name.
//
// A process that takes this one for dead first deletes the lease, then the pending file, and only then lists the
// snapshots. Suppose the lease is still there after the pending file was put. Then the other process has yet to look
// for the pending file. If it deletes that file first, there is nothing to move. If the file was moved first, the other
// process sees the snapshot. There is no third case, however long this process sleeps between two steps.
func (h *Holder) Commit(ctx context.Context, file []byte, name string) error {
	h.committing.Lock()
	defer h.committing.Unlock()
	id, _, ok := h.Held()
	if !ok {
		return errNone
	}
	s, pending := h.o.Store(), layout.Name(layout.Pending, id)
	if err := s.Put(ctx, pending, file); err != nil {
		return err
	}
	if err := h.Check(ctx); err != nil {
		_ = s.Delete(context.WithoutCancel(ctx), pending) // or the process that ended the lease deletes it
		return err
	}
	err := s.Move(ctx, pending, name)
	if !layout.IsMissing(err) {
		return err
	}
	// If a server's answer was lost, the move is retried. Then the file is missing because it was already moved.
	if there, e := s.Get(ctx, name, 0, int64(len(file))); e == nil && bytes.Equal(there, file) {
		return nil
	}
	return ErrLost
}
