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

// Reading runs fn while a lease says that it reads some snapshots. begin runs before it, under the lease: what it finds is not
// deleted until fn ends. Where no lease can be put, as in a repository that is read-only, fn runs without lease and begin.
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

// A readerLease is the lease of a Reading.
type readerLease struct {
	h    *Holder
	says Lease
	id   pack.FileID // changes in keep only
}

// keep touches the lease until ctx ends. A reader whose lease expired puts another: what it reads may still be there.
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

// An Observer holds a lease that delays no other process, to see what others hold and what the store's clock says.
type Observer struct {
	h   *Holder
	id  pack.FileID
	put bool // false where the store is full
}

// Observe puts the lease. It must be closed.
func (h *Holder) Observe(ctx context.Context, work Work) (*Observer, error) {
	id, err := h.Put(ctx, h.new(work))
	if err != nil && !errors.Is(err, store.ErrFull) {
		return nil, err
	}
	return &Observer{h, id, err == nil}, nil
}

// Close deletes the lease.
func (o *Observer) Close(ctx context.Context) {
	if o.put {
		o.h.drop(ctx, o.id)
	}
}

// Time returns when the lease was put, by the store's clock; zero where a listing does not show it.
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

// Readers returns the snapshots that live processes read, each with the lease of one of them. Where the time is not known, leases
// count however old they are.
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
