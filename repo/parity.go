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

// putPack makes a pack durable, and then its parity file, which it computes meanwhile. It returns the bytes of the
// parity file.
func (r *Repo) putPack(ctx context.Context, id pack.FileID, file []byte) (par int64, err error) {
	if r.config.Parity == 0 {
		return 0, r.view().store.Put(ctx, layout.PackName(id), file)
	}
	var made []byte
	var g errgroup.Group // always waited for, because the pack's memory is reused
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

// setParity writes to the config how much parity future packs get. Running writers keep the old setting.
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
		return fmt.Errorf("record in the config how much parity packs get: %w", err)
	}
	return nil
}

// packFiles yields packs and their parity files, as a listing shows them.
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

// A packFile is a pack or the parity of one.
type packFile struct {
	id       pack.FileID
	size     int64
	isParity bool
}

// A parityListing is the packs and the parity files that are present.
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

// as reports whether a pack has a parity file of a share. It compares the length, which follows from the share.
func (l parityListing) as(id pack.FileID, share int) bool {
	size, ok := l.parity[id]
	g, err := parity.NewGeometry(id, l.packs[id], share)
	return ok && err == nil && g.FileSize() == size
}

// ParityStatus counts the parity files of a repository.
type ParityStatus struct {
	Share   int   `json:"share"`   // thousandths of each future pack; 0 for none
	Packs   int   `json:"packs"`   //
	With    int   `json:"with"`    // packs with a parity file of any share
	Without int   `json:"without"` //
	Other   int   `json:"other"`   // of those with one: it has another share, or an impossible length
	Strays  int   `json:"strays"`  // parity files whose pack is missing
	Bytes   int64 `json:"bytes"`   // of all parity files
	// For a pack of the usual full size, with the current share.
	PackSize   int64 `json:"pack_size"`
	PackParity int64 `json:"pack_parity"`  // bytes of its parity file
	CanLose    int   `json:"can_lose"`     // sectors of 4 KiB, of the pack or its parity
	SectorSize int64 `json:"sector_bytes"` //
}

// ParityStatus counts the parity files from the listing alone.
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
	g, err := parity.NewGeometry(pack.FileID{}, r.config.PackSize/parity.Sector*parity.Sector, s.Share)
	if err != nil {
		return nil, err
	}
	s.CanLose, s.PackParity = g.Parity, g.FileSize()
	return s, nil
}
