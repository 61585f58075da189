package lease

import (
	"context"
	"errors"
	"sync"
	"time"

	"platter/pack"
	"platter/repo/layout"
	"platter/repo/store"
)

// Reading runs begin and then fn under a lease that names the snapshots to be read. What begin finds is not deleted
// until fn ends. If no lease can be put, as in a read-only repository, only fn runs, without a lease.
func (h *Holder) Reading(ctx context.Context, work Work, snapshots []pack.FileID, begin, fn func(context.Context) error) error {
	l := h.new(work)
	l.Reads = snapshots
	id, err := h.Put(ctx, l)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return fn(ctx)
	}
	r := &readerLease{h: h, says: l, id: id}
	if err := begin(ctx); err != nil {
		h.drop(ctx, id)
		return err
	}
	kctx, stop := context.WithCancel(ctx)
	var keeper sync.WaitGroup
	keeper.Go(func() { r.keep(kctx) })
	err = fn(ctx)
	stop()
	keeper.Wait()
	h.drop(ctx, r.id)
	return err
}

// A readerLease is the lease of one Reading.
type readerLease struct {
	h    *Holder
	says Lease
	id   pack.FileID // only keep changes it
}

// keep touches the lease until ctx ends. If the lease expired, keep puts another: what the reader reads may still be
// there.
func (r *readerLease) keep(ctx context.Context) {
	touching(ctx, func() bool {
		if layout.IsMissing(r.h.touch(ctx, r.id)) {
			if id, err := r.h.Put(ctx, r.says); err == nil {
				r.id = id
			}
		}
		return true
	})
}

// An Observer holds a lease that delays no other process. It shows what other processes hold and the time by the
// store's clock.
type Observer struct {
	h   *Holder
	id  pack.FileID
	put bool // false if the store is full
}

// Observe puts the lease. The caller must close the Observer.
func (h *Holder) Observe(ctx context.Context, work Work) (*Observer, error) {
	id, err := h.Put(ctx, h.new(work))
	if err != nil && !errors.Is(err, store.ErrFull) {
		return nil, err
	}
	return &Observer{h, id, err == nil}, nil
}

func (o *Observer) Close(ctx context.Context) {
	if o.put {
		o.h.drop(ctx, o.id)
	}
}

// Time returns when the lease was put, by the store's clock. It is zero if a listing does not show the lease.
func (o *Observer) Time(ctx context.Context) time.Time {
	files, err := layout.List(ctx, o.h.o.Store(), layout.Work)
	if err != nil {
		return time.Time{}
	}
	for _, f := range files {
		if f.ID == o.id {
			return f.Time
		}
	}
	return time.Time{}
}

// Readers returns the snapshots that live processes read, each with one lease that reads it. If the time is unknown,
// leases of any age count.
func (o *Observer) Readers(ctx context.Context) (map[pack.FileID]Lease, error) {
	if o.put {
		if err := o.h.touch(ctx, o.id); err != nil && !layout.IsMissing(err) {
			return nil, err
		}
	}
	s, err := o.h.ReadNow(ctx)
	if err != nil {
		return nil, err
	}
	now := s.Leases[o.id].Time
	return s.Readers(func(id pack.FileID, l Dated[Lease]) bool {
		if now.IsZero() {
			return id != o.id && !o.h.o.IsDead(l.Value)
		}
		return id != o.id && !o.h.Expired(l, now)
	}), nil
}
