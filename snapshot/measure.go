package snapshot

import (
	"context"
	"errors"
	"io/fs"

	"platter/pack"
	"platter/repo"
	"platter/snapshot/diskmap"
)

// Measured is the number of data bytes in a subtree, and its unreadable ranges, counted from the subtree's start.
type Measured struct {
	Data       int64
	Unreadable diskmap.Runs
}

// MeasureMap measures the whole map of a disk.
func MeasureMap(ctx context.Context, m *diskmap.Map) (*Measured, error) {
	fold := diskmap.Fold[*Measured]{
		Page: func(_ context.Context, _ *diskmap.Map, _ int64, pieces []diskmap.Piece) (*Measured, error) {
			sum := new(Measured)
			sum.pieces(pieces)
			return sum, nil
		},
		Node: func(_ context.Context, _ diskmap.Subtree, below []diskmap.Below[*Measured]) (*Measured, error) {
			sum := new(Measured)
			for _, b := range below {
				sum.Data += b.Value.Data
				sum.Unreadable.Place(b.Off, &b.Value.Unreadable)
			}
			return sum, nil
		},
	}
	all, err := fold.Of(ctx, m)
	if err != nil || all != nil {
		return all, err
	}
	return new(Measured), nil // a disk of zeros
}

func (s *Measured) pieces(pieces []diskmap.Piece) {
	off := int64(0)
	for _, q := range pieces {
		switch q.Kind {
		case diskmap.Data:
			s.Data += int64(q.Len)
		case diskmap.Unreadable:
			s.Unreadable.Add(off, int64(q.Len))
		}
		off += int64(q.Len)
	}
}

// Lost returns the ranges of a snapshot's disk that are known to be unreadable or lost. They read as zeros.
func Lost(ctx context.Context, load diskmap.Loader, s *Snapshot) (*diskmap.Runs, error) {
	if s.Unreadable == 0 {
		return new(diskmap.Runs), nil
	}
	all, err := MeasureMap(ctx, s.Map(load))
	if err != nil {
		return nil, err
	}
	return &all.Unreadable, nil
}

// IsFinal reports whether a read failed because something is missing or damaged, so that another try is useless.
func IsFinal(err error) bool {
	return errors.Is(err, pack.ErrDamaged) || errors.Is(err, repo.ErrMissing) || errors.Is(err, fs.ErrNotExist)
}
