package repo

import (
	"context"
	"fmt"
	"iter"

	"golang.org/x/sync/errgroup"

	"platter/pack"
	"platter/pack/parity"
	"platter/repo/layout"
	"platter/repo/store"
)

// putPack makes a pack durable, and after it its parity file, which is computed meanwhile. It returns the bytes of that.
func (r *Repo) putPack(ctx context.Context, id pack.FileID, file []byte) (par int64, err error) {
	if r.config.Parity == 0 {
		return 0, r.view().store.Put(ctx, layout.PackName(id), file)
	}
	var made []byte
	var g errgroup.Group // whose work is always waited for, since the pack's memory is used again
	g.Go(func() (err error) {
		made, err = parity.Encode(file, id, r.config.Parity)
		return err
	})
	err = r.view().store.Put(ctx, layout.PackName(id), file)
	if e := g.Wait(); err == nil {
		err = e
	}
	if err == nil {
		err = r.view().store.Put(ctx, layout.ParityName(id), made)
	}
	return int64(len(made)), err
}

// setParity writes into the config how much parity packs get from now on. Writers that are under way go on as they began.
func (r *Repo) setParity(ctx context.Context, share int) error {
	old := r.config.Parity
	if old == share {
		return nil
	}
	r.config.Parity = share
	err := r.config.Validate()
	if err == nil {
		err = r.putConfig(ctx)
	}
	if err != nil {
		r.config.Parity = old
		return fmt.Errorf("note in the config how much parity packs get: %w", err)
	}
	return nil
}

// packFiles yields packs and their parity files as a listing shows them.
func packFiles(ctx context.Context, s store.Store) iter.Seq2[packFile, error] {
	return func(yield func(packFile, error) bool) {
		for f, err := range s.List(ctx, layout.Packs) {
			if err != nil {
				yield(packFile{}, fmt.Errorf("list %s: %w", layout.Packs, err))
				return
			}
			id, isPack := layout.ParseID(layout.Packs, f)
			isParity := false
			if !isPack {
				id, isParity = layout.ParseParity(f)
			}
			if (isPack || isParity) && !yield(packFile{id, f.Size, isParity}, nil) {
				return
			}
		}
	}
}

// A packFile is a pack, or the parity of one.
type packFile struct {
	id       pack.FileID
	size     int64
	isParity bool
}

// A parityListing is the packs that are there, and the parity files.
type parityListing struct {
	packs  map[pack.FileID]int64 // with their sizes
	parity map[pack.FileID]int64
}

func listParity(ctx context.Context, s store.Store) (l parityListing, err error) {
	l = parityListing{map[pack.FileID]int64{}, map[pack.FileID]int64{}}
	for f, err := range packFiles(ctx, s) {
		if err != nil {
			return l, err
		}
		if f.isParity {
			l.parity[f.id] = f.size
		} else {
			l.packs[f.id] = f.size
		}
	}
	return l, nil
}

// withoutPack counts the parity files without a pack.
func (l parityListing) withoutPack() (n int) {
	for id := range l.parity {
		if _, ok := l.packs[id]; !ok {
			n++
		}
	}
	return n
}

// as reports whether a pack has a parity file of a share, by its length: what that is follows from the share.
func (l parityListing) as(id pack.FileID, share int) bool {
	size, ok := l.parity[id]
	g, err := parity.Plan(id, l.packs[id], share)
	return ok && err == nil && g.FileSize() == size
}

// ParityStatus is what there is of parity.
type ParityStatus struct {
	Share   int   `json:"share"`   // thousandths that packs get from now on; 0 for none
	Packs   int   `json:"packs"`   //
	With    int   `json:"with"`    // packs with a parity file, of whatever share
	Without int   `json:"without"` //
	Other   int   `json:"other"`   // of those with one: it is of another share, or of no length that it could have
	Strays  int   `json:"strays"`  // parity files whose pack is not there
	Bytes   int64 `json:"bytes"`   // of all parity files
	// Of a pack of the size that packs are filled to, with the share that packs get.
	PackSize   int64 `json:"pack_size"`
	PackParity int64 `json:"pack_parity"`  // bytes of its parity file
	CanLose    int   `json:"can_lose"`     // sectors of 4 KiB, any of the pack's and of the parity's
	SectorSize int64 `json:"sector_bytes"` //
}

// ParityStatus looks what parity files there are, by the listing alone.
func (r *Repo) ParityStatus(ctx context.Context) (*ParityStatus, error) {
	l, err := listParity(ctx, r.view().store)
	if err != nil {
		return nil, err
	}
	s := &ParityStatus{Share: r.config.Parity, Packs: len(l.packs), Strays: l.withoutPack(), PackSize: r.config.PackSize, SectorSize: parity.Sector}
	for _, size := range l.parity {
		s.Bytes += size
	}
	for id := range l.packs {
		if _, ok := l.parity[id]; !ok {
			s.Without++
			continue
		}
		if s.With++; s.Share > 0 && !l.as(id, s.Share) {
			s.Other++
		}
	}
	if s.Share == 0 {
		return s, nil
	}
	g, err := parity.Plan(pack.FileID{}, r.config.PackSize/parity.Sector*parity.Sector, s.Share)
	if err != nil {
		return nil, err
	}
	s.CanLose, s.PackParity = g.Parity, g.FileSize()
	return s, nil
}
