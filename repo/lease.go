package repo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"platter/pack"
	"platter/repo/layout"
)

var (
	// ErrInUse says that somebody else does what only one may do at a time; see InUseError.
	ErrInUse = errors.New("the repository is in use")
	// ErrLeaseLost says that others took this process for dead, since it was cut off or asleep for so long, and may have
	// deleted what it relied upon.
	ErrLeaseLost = errors.New("this was cut off from the repository for too long, and others no longer waited for it; run it again, " +
		"what it stored is not stored again")
	errNoLease = errors.New("something is put without a lease")
)

// An InUseError says who is at work.
type InUseError struct {
	Lease
	Future bool  // its lease was dated in the future
	Stuck  error // why such leases could not be dated anew; nil where they could
}

func (e *InUseError) Error() string {
	text := fmt.Sprintf("%v: a %s by %s (process %d) is under way since %s; wait for it to end. If that machine is dead, ",
		ErrInUse, e.Work, e.Host, e.PID, e.Time.Local().Format(time.DateTime))
	switch {
	case e.Future && e.Stuck != nil:
		return fmt.Sprintf("%sdelete its lease, which is dated in the future and cannot be dated anew: %v", text, e.Stuck)
	case e.Future:
		return fmt.Sprintf("%sthis works again in %v: its lease was dated in the future, by the store's clock", text, leaseExpires)
	}
	return fmt.Sprintf("%sthis works again %v after its death", text, leaseExpires)
}

// Is makes it an ErrInUse.
func (e *InUseError) Is(target error) bool { return target == ErrInUse }

// How often a lease is touched, and how long after that its holder is taken for dead. Nothing is lost where he is not: see
// PutSnapshot.
const (
	leaseTouched = time.Minute
	leaseExpires = 30 * time.Minute
	leaseEnds    = 5 * time.Second // that putting it away may take at most
)

// A holding is the lease that a Repo holds.
type holding struct {
	mu    sync.Mutex
	users int
	id    pack.FileID  // of its file
	vow   *pack.FileID // of the file that says which plans are honoured, nil where there is none
	says  Lease
	found *workplace // what there was when it began

	putting sync.Mutex // one snapshot at a time: pending ones have the lease's name
}

// WithLease runs fn while a lease says so. The order of what it does keeps backups and prunes apart without either waiting
// for the other: first the lease is durable, then plans are read, and only then anything that is built upon. So an index
// that was loaded before is loaded again.
//
// The context of fn ends with ErrLeaseLost as its cause when somebody has removed the lease. Inside of another WithLease of
// the same Repo it only runs fn. The error wraps ErrInUse where the work is one that only one may do at a time.
func (r *Repo) WithLease(ctx context.Context, work Work, fn func(context.Context) error) error {
	if err := r.writable(); err != nil {
		return err
	}
	if r.dry {
		return fn(ctx)
	}
	if err := r.acquire(ctx, work); err != nil {
		return err
	}
	lctx, lost := context.WithCancelCause(ctx)
	var keeper sync.WaitGroup
	keeper.Go(func() { r.keepLease(lctx, lost) })
	err := r.reloadIndex(lctx)
	if err == nil {
		err = fn(lctx)
	}
	if cause := context.Cause(lctx); err != nil && errors.Is(cause, ErrLeaseLost) {
		err = cause
	}
	lost(nil)
	keeper.Wait()
	r.release(ctx)
	return err
}

// acquire puts a lease and reads the plans, unless this Repo holds one already.
func (r *Repo) acquire(ctx context.Context, work Work) error {
	h := &r.lease
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.users > 0 {
		h.users++
		return nil
	}
	if err := r.upgrade(ctx); err != nil {
		return err
	}
	l := r.newLease(work)
	id, err := r.putLease(ctx, l)
	if err != nil {
		return fmt.Errorf("take a lease: %w", err)
	}
	h.vow = nil
	w, err := r.workAfter(ctx)
	if err == nil {
		h.vow, err = r.honour(ctx, id, l, w)
	}
	if err != nil {
		r.dropLease(ctx, id)
		return fmt.Errorf("take a lease: %w", err)
	}
	h.users, h.id, h.says, h.found = 1, id, l, w
	return nil
}

// workAfter reads leases and plans as they are now, or were after a lease was put. Where that cannot be had at once, it waits.
func (r *Repo) workAfter(ctx context.Context) (*workplace, error) {
	if lag := r.storeLag(); lag.Unknown != "" {
		if err := wait(ctx, r.listingAge()); err != nil {
			return nil, err
		}
	}
	return r.readWorkNow(ctx)
}

// honour looks at what others are about, and puts a file that says so.
func (r *Repo) honour(ctx context.Context, id pack.FileID, l Lease, w *workplace) (*pack.FileID, error) {
	own := w.leases[id]
	if l.Work.alone() {
		stuck := r.dateAnew(ctx, w, own.time)
		for other, held := range w.leases {
			if other != id && held.says.Work.alone() && !r.over(held, own.time) {
				return nil, &InUseError{held.says, inFuture(held.time, own.time), stuck}
			}
		}
	} else if err := w.unread(); err != nil {
		return nil, err
	}
	if l.Honours = w.planIDs(); len(l.Honours) == 0 {
		return nil, nil
	}
	l.Of = &id
	vow, err := r.putLease(ctx, l)
	return &vow, err
}

// over reports whether the holder of a lease is dead, or taken for dead now, by the store's clock.
func (r *Repo) over(l dated[Lease], now time.Time) bool {
	return now.Sub(l.time) >= leaseExpires || r.isDead(l.says)
}

// dateAnew touches leases that are dated in the future, and what may be one: the store's clock was set back since, or lies.
// Nobody can tell whether their holders live, so they count for as long as if those had touched them now. That ends no lease
// earlier, and that of a dead holder not later than then; one that somebody has ended meanwhile does not come back.
func (r *Repo) dateAnew(ctx context.Context, w *workplace, now time.Time) error {
	dated := maps.Clone(w.times)
	for id, l := range w.leases {
		dated[id] = l.time
	}
	var errs []error
	for id, touched := range dated {
		if !inFuture(touched, now) {
			continue
		}
		if err := r.store.Touch(ctx, layout.Name(layout.Work, id)); err != nil && !layout.IsMissing(err) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// inFuture reports whether a lease was touched later than its holder can have done since somebody asked for the time.
func inFuture(touched, now time.Time) bool { return !now.IsZero() && touched.Sub(now) > leaseTouched }

// keepLease touches the lease until ctx ends. A store that does not answer may do so again: then it is seen whether the
// lease is still there.
func (r *Repo) keepLease(ctx context.Context, lost context.CancelCauseFunc) {
	touching(ctx, func() bool {
		if layout.IsMissing(r.store.Touch(ctx, layout.Name(layout.Work, r.lease.id))) {
			lost(ErrLeaseLost)
			return false
		}
		return true
	})
}

// touching calls touch as often as a lease is to be touched, until ctx ends or touch returns false.
func touching(ctx context.Context, touch func() bool) {
	tick := time.NewTicker(leaseTouched)
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

// release ends the lease when nobody uses it any more.
func (r *Repo) release(ctx context.Context) {
	h := &r.lease
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.users--; h.users == 0 {
		if h.vow != nil {
			r.dropLease(ctx, *h.vow)
		}
		r.dropLease(ctx, h.id)
	}
}

// dropLease removes a lease. Where that fails, or nobody may delete anything, it ends by itself after a while.
func (r *Repo) dropLease(ctx context.Context, id pack.FileID) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaseEnds)
	defer cancel()
	_ = r.store.Delete(ctx, layout.Name(layout.Work, id))
}

// checkLease returns ErrLeaseLost where the lease is not there any more.
func (r *Repo) checkLease(ctx context.Context) error {
	_, err := r.store.Get(ctx, layout.Name(layout.Work, r.lease.id), 0, 1)
	if layout.IsMissing(err) {
		return ErrLeaseLost
	}
	return err
}
