package repo

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"platter/pack"
	"platter/pack/parity"
	"platter/repo/layout"
	"platter/repo/store"
)

// ParityOptions say what AddParity makes.
type ParityOptions struct {
	Share  int  // thousandths of each pack; 0 means the repository's share, or parity.DefaultShare if it has none
	Verify bool // also read existing parity files, and replace damaged ones
}

// ParityAdded is the result of AddParity.
type ParityAdded struct {
	Share   int      `json:"share"`             // thousandths
	Packs   int      `json:"packs"`             // packs present
	Made    int      `json:"made"`              // parity files
	Bytes   int64    `json:"bytes"`             // of the made files
	Kept    int      `json:"kept"`              // packs that already had one
	Damaged []string `json:"damaged,omitempty"` // packs that got none, one sentence each
}

// AddParity turns parity on for future packs, and makes a parity file for each pack that has none of that share. It
// reads each pack whole and verifies its name. The parity of a damaged pack would preserve the damage, and would
// replace the file that may mend it. After an interruption, the next AddParity keeps the finished files.
func (r *Repo) AddParity(ctx context.Context, o ParityOptions, p *Progress) (done *ParityAdded, err error) {
	r.dropBlocks()
	if o.Share == 0 {
		if o.Share = r.config.Parity; o.Share == 0 {
			o.Share = parity.DefaultShare
		}
	}
	err = r.WithLease(ctx, BackingUp, func(ctx context.Context) error {
		if err := r.setParity(ctx, o.Share); err != nil { // first, so that packs put meanwhile get parity
			return err
		}
		l, err := listParity(ctx, r.view().store)
		if err != nil {
			return err
		}
		a := &parityAdding{repo: r, ParityOptions: o, listing: l, done: &ParityAdded{Share: o.Share, Packs: len(l.packs)}, progress: p}
		done = a.done
		return a.run(ctx)
	})
	return done, err
}

// A parityAdding is a running AddParity.
type parityAdding struct {
	repo *Repo
	ParityOptions
	listing  parityListing
	progress *Progress

	mu   sync.Mutex
	done *ParityAdded
}

// run goes over all packs. It holds no more of them in memory than a Write does.
func (a *parityAdding) run(ctx context.Context) error {
	var todo []pack.FileID
	for id, size := range a.listing.packs {
		if a.listing.as(id, a.Share) && !a.Verify {
			a.done.Kept++
			continue
		}
		todo = append(todo, id)
		a.progress.Expect(size)
	}
	slices.SortFunc(todo, func(x, y pack.FileID) int { return slices.Compare(x[:], y[:]) })
	packs := make(chan pack.FileID)
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(packs)
		for _, id := range todo {
			select {
			case packs <- id:
			case <-gctx.Done():
				return context.Cause(gctx)
			}
		}
		return nil
	})
	for range packsInMemory {
		g.Go(func() error {
			var buf []byte
			for id := range packs {
				size := a.listing.packs[id]
				if int64(cap(buf)) < size {
					buf = make([]byte, size)
				}
				if err := a.pack(gctx, id, buf[:size]); err != nil {
					return err
				}
				a.progress.Add(size)
			}
			return nil
		})
	}
	err := g.Wait()
	slices.Sort(a.done.Damaged)
	return err
}

// pack makes the parity of one pack, which it reads into buf.
func (a *parityAdding) pack(ctx context.Context, id pack.FileID, buf []byte) error {
	if len(buf) > pack.MaxSize {
		a.damaged(id, fmt.Errorf("%w: longer than a pack may be", pack.ErrDamaged))
		return nil
	}
	file, err := store.GetInto(ctx, a.repo.view().store, buf, layout.PackName(id), 0, int64(len(buf)))
	switch {
	case layout.IsMissing(err): // pruned since it was listed
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		a.damaged(id, err)
		return nil
	case len(file) != len(buf) || pack.Sum(file) != id:
		a.damaged(id, fmt.Errorf("%w: its bytes do not match its name", pack.ErrDamaged))
		return nil
	case a.listing.as(id, a.Share) && a.whole(ctx, id, file):
		a.mu.Lock()
		defer a.mu.Unlock()
		a.done.Kept++
		return nil
	}
	par, err := parity.Encode(file, id, a.Share)
	if err != nil { // its length is none that platter gives a pack
		a.damaged(id, err)
		return nil
	}
	if err := a.repo.view().store.Put(ctx, layout.ParityName(id), par); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.done.Made, a.done.Bytes = a.done.Made+1, a.done.Bytes+int64(len(par))
	return nil
}

// whole reports whether the parity file of a pack is whole.
func (a *parityAdding) whole(ctx context.Context, id pack.FileID, file []byte) bool {
	par, err := layout.Read(ctx, a.repo.view().store, layout.ParityName(id), parity.MaxFile)
	if err != nil {
		return false
	}
	report, err := parity.Check(file, par)
	return err == nil && report.Pack == id && report.Whole()
}

func (a *parityAdding) damaged(id pack.FileID, why error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.done.Damaged = append(a.done.Damaged, fmt.Sprintf("%s: %v", layout.PackName(id), why))
}

// ParityRemoved is the result of RemoveParity.
type ParityRemoved struct {
	Removed int   `json:"removed"` // parity files
	Bytes   int64 `json:"bytes"`   // of the removed files
}

// RemoveParity turns parity off for future packs and deletes all parity files. A running backup may go on making some.
func (r *Repo) RemoveParity(ctx context.Context, p *Progress) (*ParityRemoved, error) {
	done := new(ParityRemoved)
	err := r.WithLease(ctx, BackingUp, func(ctx context.Context) error {
		if err := r.setParity(ctx, 0); err != nil {
			return err
		}
		l, err := listParity(ctx, r.view().store)
		if err != nil {
			return err
		}
		for _, size := range l.parity {
			p.Expect(size)
		}
		for _, id := range slices.SortedFunc(maps.Keys(l.parity), func(x, y pack.FileID) int { return slices.Compare(x[:], y[:]) }) {
			if err := r.dropParity(ctx, id); err != nil {
				return err
			}
			done.Removed, done.Bytes = done.Removed+1, done.Bytes+l.parity[id]
			p.Add(l.parity[id])
		}
		return nil
	})
	return done, err
}

// dropParity deletes the parity file of a pack, if there is one.
func (r *Repo) dropParity(ctx context.Context, id pack.FileID) error {
	if err := r.view().store.Delete(ctx, layout.ParityName(id)); err != nil && !layout.IsMissing(err) {
		return err
	}
	return nil
}
