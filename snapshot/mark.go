package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/sync/errgroup"

	"platter/chunk"
	"platter/pack"
	"platter/repo"
)

// Mark marks every chunk that the snapshots of some ids are made of, for Repo.Prune. What several of them share is read
// once. A snapshot that is not there any more needs nothing; one that cannot be read, or a map, is an error: nobody knows
// what it needs.
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
			return fmt.Errorf("%w: nobody knows what it needs, so nothing is deleted; put it back from a copy, or forget it by its id", err)
		}
		marks.Host(id, s.Host)
		if s.Parent != nil {
			marks.After(id, *s.Parent)
		}
		if err := mark(ctx, s.Map(r), marks); err != nil {
			return fmt.Errorf("snapshot %.8s of %s: %w; nobody knows what it needs, so nothing is deleted; see 'platter check'", id, s.Name, err)
		}
	}
	return keepAside(ctx, r, gone, marks)
}

// mark marks what one map is made of: nodes one after the other, pages on all cores.
func mark(ctx context.Context, m *Map, marks *repo.Marks) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(m.repo.Workers())
	page := func(at int64, id chunk.ID) error {
		pieces, err := m.page(gctx, at, id)
		if err != nil {
			return err
		}
		for _, q := range pieces {
			if q.kind == dataPiece {
				marks.Mark(q.id)
			}
		}
		return nil
	}
	var walk func(level int, at int64, id chunk.ID) error
	walk = func(level int, at int64, id chunk.ID) error {
		if id.IsZero() || gctx.Err() != nil || !marks.Walk(id) {
			return gctx.Err()
		}
		if level == 0 {
			g.Go(func() error { return page(at, id) })
			return nil
		}
		n, err := m.node(gctx, level, id)
		if err != nil {
			return err
		}
		for i, child := range n {
			if err := walk(level-1, at*fanOut+int64(i), child); err != nil {
				return err
			}
		}
		return nil
	}
	err := walk(height(m.size), 0, m.root)
	if e := g.Wait(); e != nil { // the walk was only told to stop
		return e
	}
	return err
}
