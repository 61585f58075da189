package snapshot

import (
	"context"
	"errors"
	"io/fs"
	"platter/pack"
	"platter/repo"
	"platter/snapshot/diskmap"
)

// A measured subtree has so many bytes of data, and ranges that cannot be read, counted from where it begins.
type measured struct {
	data int64
	bad  diskmap.Runs
}

// measure returns what a disk has.
func measure(ctx context.Context, m *diskmap.Map) (*measured, error) {
	fold := diskmap.Fold[*measured]{
		Page: func(_ context.Context, _ *diskmap.Map, _ int64, pieces []diskmap.Piece) (*measured, error) {
			sum := new(measured)
			sum.pieces(pieces)
			return sum, nil
		},
		Node: func(_ context.Context, _ diskmap.Subtree, below []diskmap.Below[*measured]) (*measured, error) {
			sum := new(measured)
			for _, b := range below {
				sum.data += b.Value.data
				sum.bad.Place(b.Off, &b.Value.bad)
			}
			return sum, nil
		},
	}
	all, err := fold.Of(ctx, m)
	if err != nil || all != nil {
		return all, err
	}
	return new(measured), nil // zeros
}

func (s *measured) pieces(pieces []diskmap.Piece) {
	off := int64(0)
	for _, q := range pieces {
		switch q.Kind {
		case diskmap.Data:
			s.data += int64(q.Len)
		case diskmap.Unreadable:
			s.bad.Add(off, int64(q.Len))
		}
		off += int64(q.Len)
	}
}

// Lost returns which ranges of a snapshot's disk are known to be lost: they read as zeros.
func Lost(ctx context.Context, r *repo.Repo, s *Snapshot) (*diskmap.Runs, error) {
	if s.Unreadable == 0 {
		return new(diskmap.Runs), nil
	}
	all, err := measure(ctx, s.Map(r))
	if err != nil {
		return nil, err
	}
	return &all.bad, nil
}

// isFinal reports whether a read failed for a reason that does not pass.
func isFinal(err error) bool {
	return errors.Is(err, pack.ErrDamaged) || errors.Is(err, repo.ErrMissing) || errors.Is(err, fs.ErrNotExist)
}
