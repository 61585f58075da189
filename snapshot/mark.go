package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"platter/pack"
	"platter/repo"
	"platter/snapshot/diskmap"
)

// Mark marks every chunk that the snapshots with these IDs use, for Repo.Prune. It reads what they share once. A
// missing snapshot needs nothing. A snapshot or map that cannot be read is an error, because its chunks are unknown.
func Mark(ctx context.Context, r *repo.Repo, ids []pack.FileID, marks *repo.Marks) error {
	var gone []pack.FileID
	for _, id := range ids {
		s, err := load(ctx, r, id)
		if errors.Is(err, fs.ErrNotExist) {
			marks.Missing(id)
			gone = append(gone, id)
			continue
		}
		if err != nil {
			return fmt.Errorf("%w: it is unknown which data it needs, so nothing is deleted; put it back from a copy, or forget it by its id", err)
		}
		marks.Host(id, s.Host)
		if s.Parent != nil {
			marks.After(id, *s.Parent)
		}
		if err := mark(ctx, s.Map(r), marks); err != nil {
			return fmt.Errorf("snapshot %.8s of %s: %w; it is unknown which data it needs, so nothing is deleted; see 'platter check'", id, s.Name, err)
		}
	}
	return keepAside(ctx, r, gone, marks)
}

// mark marks the chunks of one map.
func mark(ctx context.Context, m *diskmap.Map, marks *repo.Marks) error {
	fold := diskmap.Fold[struct{}]{
		AllCores: true,
		Enter:    func(s diskmap.Subtree) (_ struct{}, known bool) { return struct{}{}, !marks.Walk(s.ID) },
		Page: func(_ context.Context, _ *diskmap.Map, _ int64, pieces []diskmap.Piece) (_ struct{}, err error) {
			for _, q := range pieces {
				if q.Kind == diskmap.Data {
					marks.Mark(q.ID)
				}
			}
			return struct{}{}, nil
		},
	}
	_, err := fold.Of(ctx, m)
	return err
}
