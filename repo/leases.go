package repo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"platter/pack"
	"platter/repo/crypt"
	"platter/repo/layout"
	"platter/repo/lease"
	"platter/repo/store"
)

// What callers of this package need from package lease.
type (
	// A Work is what a process does in a repository.
	Work = lease.Work
	// A Lease says that a process is at work.
	Lease = lease.Lease
	// An InUseError says which process is at work.
	InUseError = lease.InUseError
)

// The kinds of work.
const (
	BackingUp  = lease.BackingUp
	Pruning    = lease.Pruning
	Repairing  = lease.Repairing
	Restoring  = lease.Restoring
	Exporting  = lease.Exporting
	Checking   = lease.Checking
	Forgetting = lease.Forgetting
	Serving    = lease.Serving
)

var (
	// ErrInUse says that another process does exclusive work; see InUseError.
	ErrInUse = lease.ErrInUse
	// ErrLeaseLost says that another process ended this process's lease, and may have deleted what this one built on.
	ErrLeaseLost = lease.ErrLost
	// ErrForgotten says that a version was forgotten before any of it was read.
	ErrForgotten = errors.New("this version has just been forgotten; see 'platter snapshots'")
)

// A HeldError says that a version cannot be forgotten because another process reads it.
type HeldError struct {
	Snapshot pack.FileID
	By       Lease
}

func (e *HeldError) Error() string {
	return fmt.Sprintf("version %.8s is being read by %v; forget it after that ends", e.Snapshot, e.By)
}

// Is makes a HeldError match ErrInUse.
func (e *HeldError) Is(target error) bool { return target == ErrInUse }

// newLeases returns the repository's lease holder. It asks r for everything that may change later.
func (r *Repo) newLeases() *lease.Holder {
	return lease.New(lease.Options{
		Store:  func() store.Store { return r.view().store },
		Box:    func(p crypt.Purpose) *crypt.Box { return crypt.NewBox(r.master, p, r.id) },
		Now:    func() time.Time { return r.now() },
		IsDead: func(l Lease) bool { return r.isDead(l) },
		Begin:  r.upgrade,
		Settle: func(ctx context.Context) error {
			if r.storeLag().Unknown == "" {
				return ctx.Err()
			}
			return wait(ctx, r.listingAge())
		},
	})
}

// WithLease runs fn under a lease; see lease.Holder.Hold. It loads the index again if it was loaded before.
//
// If another process ends the lease, the context of fn ends with ErrLeaseLost as its cause. Inside another WithLease of
// the same Repo, it only runs fn. The error wraps ErrInUse if the work is exclusive and another process does exclusive
// work.
func (r *Repo) WithLease(ctx context.Context, work Work, fn func(context.Context) error) error {
	if err := r.writable(); err != nil {
		return err
	}
	if r.dry {
		return fn(ctx)
	}
	return r.leases.Hold(ctx, work, func(ctx context.Context) error {
		if err := r.reloadIndex(ctx); err != nil {
			return err
		}
		return fn(ctx)
	})
}

// LeaseTime returns when this Repo's lease was put, by the store's clock. It is zero without a lease.
func (r *Repo) LeaseTime() time.Time { return r.leases.Time() }

// holdsLease reports whether this Repo runs under WithLease.
func (r *Repo) holdsLease() bool {
	_, _, ok := r.leases.Held()
	return ok
}

// Reading runs fn under a lease that names the snapshots to be read. Meanwhile they are not forgotten, and their data
// is not pruned. If no lease can be put, as in a read-only repository, fn runs without one. The error wraps
// ErrForgotten if one of the snapshots is missing. Inside a WithLease, Reading only runs fn.
func (r *Repo) Reading(ctx context.Context, work Work, snapshots []pack.FileID, fn func(context.Context) error) error {
	if r.dry || r.writable() != nil || !slices.Contains(r.config.WriteFeatures, Leases) || r.holdsLease() {
		return fn(ctx)
	}
	return r.leases.Reading(ctx, work, snapshots, func(ctx context.Context) error {
		if err := r.areThere(ctx, snapshots); err != nil {
			return err
		}
		return r.CatchUp(ctx)
	}, fn)
}

// areThere reads snapshots by name, bypassing all caches, to check that they exist. A process that forgets one from now
// on sees this reader's lease.
func (r *Repo) areThere(ctx context.Context, snapshots []pack.FileID) error {
	s := r.uncached()
	for _, id := range snapshots {
		if _, err := s.Get(ctx, layout.Name(layout.Snapshots, id), 0, 1); layout.IsMissing(err) {
			return fmt.Errorf("%.8s: %w", id, ErrForgotten)
		} else if err != nil {
			return err
		}
	}
	return nil
}

// CatchUp loads the index again if the index files are others than those it was loaded from: other processes changed
// them, or the listing was old even then. Without a loaded index it does nothing.
func (r *Repo) CatchUp(ctx context.Context) error {
	v := r.view()
	if v.loaded == nil {
		return nil
	}
	files, err := layout.ListNow(ctx, v.store, layout.Index)
	if err != nil || v.files.are(files) {
		return err
	}
	return r.LoadIndex(ctx)
}

// Readers returns the snapshots that processes are reading, each with one such process. They cannot be forgotten now.
func (r *Repo) Readers(ctx context.Context) (map[pack.FileID]Lease, error) {
	if r.dry || r.writable() != nil {
		s, err := r.leases.Read(ctx)
		if err != nil {
			return nil, err
		}
		return s.Readers(func(pack.FileID, lease.Dated[Lease]) bool { return true }), nil
	}
	o, err := r.leases.Observe(ctx, Forgetting)
	if err != nil {
		return nil, err
	}
	defer o.Close(ctx)
	return o.Readers(ctx)
}

// heldOf returns a *HeldError if another process reads one of the snapshots.
func heldOf(ctx context.Context, o *lease.Observer, ids []pack.FileID) error {
	read, err := o.Readers(ctx)
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
