package repo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"platter/pack"
	"platter/repo/store"
)

// ErrForgotten says that a version was forgotten before anything of it was read.
var ErrForgotten = errors.New("somebody has just forgotten this version; see 'platter snapshots'")

// A HeldError says that a version cannot be forgotten because somebody reads it.
type HeldError struct {
	Snapshot pack.FileID
	By       Lease
}

func (e *HeldError) Error() string {
	return fmt.Sprintf("version %.8s is being read by %v; forget it when that has ended", e.Snapshot, e.By)
}

// Is makes it an ErrInUse.
func (e *HeldError) Is(target error) bool { return target == ErrInUse }

// String words who holds a lease, and since when.
func (l Lease) String() string {
	return fmt.Sprintf("the %s that %s began at %s (process %d)", l.Work, l.Host, l.Time.Local().Format(time.DateTime), l.PID)
}

// Reading runs fn while a lease says that it reads some snapshots: they are not forgotten meanwhile, and nothing is pruned of
// them. Where no lease can be put, as in a repository that may only be read, fn runs without. The error wraps ErrForgotten
// where one of the snapshots is not there any more. Inside of a WithLease it only runs fn.
func (r *Repo) Reading(ctx context.Context, work Work, snapshots []pack.FileID, fn func(context.Context) error) error {
	if r.dry || r.writable() != nil || !slices.Contains(r.config.WriteFeatures, Leases) || r.holdsLease() {
		return fn(ctx)
	}
	l := r.newLease(work)
	l.Reads = snapshots
	id, err := r.putLease(ctx, l)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return fn(ctx)
	}
	h := &readerLease{Repo: r, says: l, id: id}
	err = h.areThere(ctx)
	if err == nil {
		err = r.catchUp(ctx)
	}
	if err != nil {
		r.dropLease(ctx, id)
		return err
	}
	kctx, stop := context.WithCancel(ctx)
	var keeper sync.WaitGroup
	keeper.Go(func() { h.keep(kctx) })
	err = fn(ctx)
	stop()
	keeper.Wait()
	r.dropLease(ctx, h.id)
	return err
}

func (r *Repo) newLease(work Work) Lease {
	host, _ := os.Hostname() // only for people to read
	return Lease{Work: work, Host: host, PID: os.Getpid(), Boot: thisBoot(), Time: r.now().UTC().Truncate(time.Second)}
}

// catchUp loads the index again where it was loaded from a listing that others have made old since, or that was old then.
func (r *Repo) catchUp(ctx context.Context) error {
	if r.loaded == nil {
		return nil
	}
	files, err := listNow(ctx, r.store, indexDir)
	if err != nil || r.files.are(files) {
		return err
	}
	return r.LoadIndex(ctx)
}

// holdsLease reports whether this Repo is at work under WithLease.
func (r *Repo) holdsLease() bool {
	r.lease.mu.Lock()
	defer r.lease.mu.Unlock()
	return r.lease.users > 0
}

// A readerLease is the lease of a Reading.
type readerLease struct {
	*Repo
	says Lease
	id   pack.FileID
}

// areThere asks for the snapshots by name, past all caches: what somebody forgets from now on, he finds this lease after.
func (h *readerLease) areThere(ctx context.Context) error {
	s := h.uncached()
	for _, id := range h.says.Reads {
		if _, err := s.Get(ctx, fileName(snapshotsDir, id), 0, 1); gone(err) {
			return fmt.Errorf("%.8s: %w", id, ErrForgotten)
		} else if err != nil {
			return err
		}
	}
	return nil
}

// keep touches the lease until ctx ends. Whoever slept so long that others took him for dead puts another: what he reads may be
// there still.
func (h *readerLease) keep(ctx context.Context) {
	touching(ctx, func() bool {
		if gone(h.store.Touch(ctx, fileName(workDir, h.id))) {
			if id, err := h.putLease(ctx, h.says); err == nil {
				h.id = id
			}
		}
		return true
	})
}

// A lookout is the lease of whoever wants to know what others hold, and what time it is by the store's clock.
type lookout struct {
	*Repo
	id  pack.FileID
	put bool // false where the store has no room for it
}

// lookOut puts a lease that holds up nobody.
func (r *Repo) lookOut(ctx context.Context, work Work) (*lookout, error) {
	id, err := r.putLease(ctx, r.newLease(work))
	if err != nil && !errors.Is(err, store.ErrFull) {
		return nil, err
	}
	return &lookout{r, id, err == nil}, nil
}

func (o *lookout) close(ctx context.Context) {
	if o.put {
		o.dropLease(ctx, o.id)
	}
}

// readers returns by whom snapshots are being read. Where the time is not known, leases count however old they are.
func (o *lookout) readers(ctx context.Context) (map[pack.FileID]Lease, error) {
	if o.put {
		if err := o.store.Touch(ctx, fileName(workDir, o.id)); err != nil && !gone(err) {
			return nil, err
		}
	}
	w, err := o.readWorkNow(ctx)
	if err != nil {
		return nil, err
	}
	now := w.leases[o.id].time
	read := map[pack.FileID]Lease{}
	for id, l := range w.leases {
		if id != o.id && (now.IsZero() && !o.isDead(l.says) || !now.IsZero() && !o.over(l, now)) {
			for _, snapshot := range l.says.Reads {
				read[snapshot] = l.says
			}
		}
	}
	return read, nil
}

// Readers returns those snapshots that are being read for long, and by whom: they are not to be forgotten now.
func (r *Repo) Readers(ctx context.Context) (map[pack.FileID]Lease, error) {
	if r.dry || r.writable() != nil {
		w, err := r.readWork(ctx)
		if err != nil {
			return nil, err
		}
		read := map[pack.FileID]Lease{}
		for _, l := range w.leases {
			for _, snapshot := range l.says.Reads {
				read[snapshot] = l.says
			}
		}
		return read, nil
	}
	o, err := r.lookOut(ctx, Forgetting)
	if err != nil {
		return nil, err
	}
	defer o.close(ctx)
	return o.readers(ctx)
}

// readsForgotten reports whether somebody reads a snapshot that is not among those that are there: it was forgotten by whoever did
// not see his lease. What it is made of, no mark keeps; so nothing is deleted while it is read.
//
// The leases are listed after the snapshots. A reader puts his lease, and then finds the snapshot there. So a snapshot that was
// gone before the listing was gone after that, and the lease is seen; or he did not find it, and reads nothing.
func (p *pruner) readsForgotten(ctx context.Context, snapshots []pack.FileID) (bool, error) {
	w, now, err := p.workNow(ctx)
	if err != nil {
		return false, err
	}
	found := false
	for _, l := range w.leases {
		if p.over(l, now) {
			continue
		}
		if slices.ContainsFunc(l.says.Reads, func(id pack.FileID) bool { return !slices.Contains(snapshots, id) }) {
			p.done.AtWork, found = append(p.done.AtWork, l.says), true
		}
	}
	return found, nil
}

// heldOf returns a *HeldError where one of some snapshots is being read.
func (o *lookout) heldOf(ctx context.Context, ids []pack.FileID) error {
	read, err := o.readers(ctx)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if by, ok := read[id]; ok {
			return &HeldError{id, by}
		}
	}
	return nil
}
