package snapshot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"platter/chunk"
	"platter/pack"
	"platter/repo"
	"platter/snapshot/diskmap"
)

// AsideFiles reads the files of snapshots that are kept aside; a *repo.Repo does.
type AsideFiles interface {
	// ListAside returns the file IDs of these snapshots, in any order.
	ListAside(ctx context.Context) ([]pack.FileID, error)
	// GetAside returns the JSON of one. The error wraps pack.ErrDamaged if the JSON is not what was stored.
	GetAside(ctx context.Context, id pack.FileID) ([]byte, error)
	// Drop makes the next read of a file come from the store, and from no cache.
	Drop(name string)
}

// LoadAside reads the snapshots that were removed as damaged and set aside, oldest first. bad has an *Unreadable for
// each one that cannot be read after two tries.
func LoadAside(ctx context.Context, r AsideFiles) (aside []*Snapshot, bad []*Unreadable, err error) {
	ids, err := r.ListAside(ctx)
	if err != nil {
		return nil, nil, err
	}
	for _, id := range ids {
		s, err := loadAside(ctx, r, id)
		switch {
		case ctx.Err() != nil:
			return nil, nil, ctx.Err()
		case err == nil:
			aside = append(aside, s)
		case !errors.Is(err, fs.ErrNotExist): // it is no longer set aside
			bad = append(bad, &Unreadable{id, err})
		}
	}
	slices.SortFunc(aside, byTime)
	slices.SortFunc(bad, func(a, b *Unreadable) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	return aside, bad, nil
}

func loadAside(ctx context.Context, r AsideFiles, id pack.FileID) (s *Snapshot, err error) {
	for range 2 {
		var data []byte
		if data, err = r.GetAside(ctx, id); err == nil {
			s, err = decode(id, data)
		}
		if err == nil {
			return s, nil
		}
		r.Drop(repo.AsideName(id))
	}
	return nil, fmt.Errorf("%s: %w", repo.AsideName(id), err)
}

// PutBack puts back snapshots that were set aside, and returns them in the order of the IDs. They get new names, because
// records say that the old ones were removed.
func PutBack(ctx context.Context, r *repo.Repo, ids []pack.FileID) (back []*Snapshot, err error) {
	err = r.WithLease(ctx, repo.BackingUp, func(ctx context.Context) error {
		for _, id := range ids {
			s, err := loadAside(ctx, r, id)
			if err != nil {
				return err
			}
			if err := s.Save(ctx, r); err != nil {
				return err
			}
			back = append(back, s)
			if err := r.DropAside(ctx, []pack.FileID{id}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		err = fmt.Errorf("put back: %w", err)
	}
	return back, err
}

// IsDamaged reports whether the file is damaged, as far as reading it shows. A file that a newer platter wrote, or that
// the store cannot read, may be whole.
func (u *Unreadable) IsDamaged() bool {
	return errors.Is(u, pack.ErrDamaged) && !errors.Is(u, pack.ErrNewer)
}

// keepAside marks the chunks of the snapshots that are set aside, as far as they can be read. So putting one back
// restores what it restored before. If a snapshot or its map cannot be read, its chunks are unknown. listed has
// snapshots that existed a moment ago: another process may be setting one aside.
func keepAside(ctx context.Context, r *repo.Repo, listed []pack.FileID, marks *repo.Marks) error {
	ids, err := r.ListAside(ctx)
	if err != nil {
		return err
	}
	for _, id := range slices.Concat(ids, listed) {
		s, err := loadAside(ctx, r, id)
		k := keeper{repo: r, marks: marks}
		if err == nil {
			err = k.mark(ctx, s.Map(r))
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, fs.ErrNotExist): // it was put back, or was never set aside
		case err != nil && !IsFinal(err) && !errors.Is(err, pack.ErrNewer):
			return fmt.Errorf("%w; it is unknown which data it needs, so nothing is deleted", err)
		case err != nil || k.unsure:
			marks.Unsure(id)
		}
	}
	return nil
}

// A keeper marks the remaining chunks of a snapshot that is not whole.
type keeper struct {
	repo  Indexed
	marks *repo.Marks

	unsure bool // a node or a page cannot be read
}

// mark marks a map, as far as it can be read. It returns an error only if the store does not answer.
func (k *keeper) mark(ctx context.Context, m *diskmap.Map) error {
	fold := diskmap.Fold[struct{}]{
		Enter:  func(s diskmap.Subtree) (_ struct{}, known bool) { return struct{}{}, !k.marks.KeepWalk(s.ID) },
		Beyond: func() (_ struct{}, err error) { return struct{}{}, nil },
		Page: func(ctx context.Context, _ *diskmap.Map, _ int64, pieces []diskmap.Piece) (_ struct{}, err error) {
			for _, q := range pieces {
				if q.Kind == diskmap.Data {
					if err := k.chunk(ctx, q.ID); err != nil {
						return struct{}{}, err
					}
				}
			}
			return struct{}{}, nil
		},
		Unreadable: func(_ context.Context, s diskmap.Subtree, reason error) (_ struct{}, err error) {
			k.unsure = true
			return struct{}{}, k.without(s.ID, reason)
		},
	}
	_, err := fold.Of(ctx, m)
	return err
}

// chunk marks a data chunk. A chunk that is only in missing or damaged packs is read first: if that fails, it is no
// reason to keep those packs.
func (k *keeper) chunk(ctx context.Context, id chunk.ID) error {
	if _, ok := k.repo.Index().Lookup(id); ok && k.repo.Index().Missing(id) {
		err := k.repo.Load(ctx, chunk.Data, []chunk.ID{id}, func(int, []byte) error { return nil })
		if err != nil {
			return k.without(id, err)
		}
	}
	k.marks.Keep(id)
	return nil
}

// without goes on without a chunk that is missing or damaged. An orphaned pack may still have it.
func (k *keeper) without(id chunk.ID, why error) error {
	if !IsFinal(why) {
		return why
	}
	k.marks.KeepAway(id)
	return nil
}
