package repo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"platter/chunk"
	"platter/index"
	"platter/pack"
)

// repack copies the needed chunks of some packs into new ones, and returns the packs that were copied completely. If
// the store is full, it returns none, but the chunks copied so far stay for the next time.
func (p *pruner) repack(ctx context.Context, going map[pack.FileID]*use, chosen []*use) ([]*use, error) {
	if len(chosen) == 0 {
		return nil, nil
	}
	from := map[pack.FileID]*use{}
	for _, u := range chosen {
		from[u.id] = u
		p.progress.Expect(u.size)
	}
	// Nothing builds on packs to be deleted, so all chunks needed from them count as new.
	p.repo.view().index.Suspend(slices.Collect(maps.Keys(from)))
	p.repo.view().index.Suspend(slices.Collect(maps.Keys(going)))
	c := &copier{repo: p.repo, marks: p.marks, progress: p.progress, taken: map[chunk.ID]bool{}}
	if err := c.collect(ctx, from); err != nil {
		return nil, err
	}
	stats, err := p.repo.write(ctx, c.copy)
	if isFull(err) {
		p.done.Full, p.copy = true, false
		if err := p.look(ctx); err != nil { // a chunk that the index listed is missing
			return nil, err
		}
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	p.done.Copied += stats.Stored.Load()
	for _, u := range chosen {
		p.done.Repacked.add(u.size)
	}
	return chosen, nil
}

// A copier copies the needed chunks of packs.
type copier struct {
	repo     *Repo
	marks    *Marks
	progress *Progress

	mu    sync.Mutex
	packs []packWants
	taken map[chunk.ID]bool // chunks in several packs that one of the packs already copies
}

// packWants are the needed chunks of one pack, in the order in which the pack holds them.
type packWants struct {
	size       int64
	data, maps []chunk.ID
}

// collect finds the needed chunks of the packs.
func (c *copier) collect(ctx context.Context, from map[pack.FileID]*use) error {
	files, err := c.repo.countingIndexes(ctx)
	if err != nil {
		return err
	}
	none := func(pack.FileID) bool { return false }
	return c.repo.eachIndex(ctx, files, func(_ pack.FileID, f *index.File) error {
		for _, t := range f.Packs {
			c.mu.Lock()
			u := from[t.ID]
			delete(from, t.ID) // it may be listed twice
			c.mu.Unlock()
			if u == nil {
				continue
			}
			w, refs := packWants{size: u.size}, t.Table.Chunks
			for _, fr := range t.Table.Frames {
				for _, ref := range refs[:fr.Chunks] {
					if !c.marks.needs(ref.ID) || c.repo.view().index.Elsewhere(ref.ID, none) || !c.take(ref.ID) {
						continue
					}
					if fr.Kind == chunk.Map {
						w.maps = append(w.maps, ref.ID)
					} else {
						w.data = append(w.data, ref.ID)
					}
				}
				refs = refs[fr.Chunks:]
			}
			c.mu.Lock()
			c.packs = append(c.packs, w)
			c.mu.Unlock()
		}
		return nil
	})
}

// take reports whether a chunk still has to be copied from the current pack.
func (c *copier) take(id chunk.ID) bool {
	if len(c.repo.view().index.Places(id)) < 2 {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.taken[id]
	c.taken[id] = true
	return !before
}

// copy stores the chunks again, on all cores. Neighbours stay neighbours, and each chunk is verified by its ID on the
// way.
func (c *copier) copy(ctx context.Context, w *Writer) error {
	g, gctx := errgroup.WithContext(ctx)
	packs := make(chan packWants)
	g.Go(func() error {
		defer close(packs)
		for _, p := range c.packs {
			select {
			case packs <- p:
			case <-gctx.Done():
				return context.Cause(gctx)
			}
		}
		return nil
	})
	for range c.repo.workers {
		g.Go(func() error {
			lane := w.Lane()
			for p := range packs {
				if err := c.copyPack(gctx, w, lane, p); err != nil {
					return err
				}
			}
			return lane.Close(gctx)
		})
	}
	return g.Wait()
}

func (c *copier) copyPack(ctx context.Context, w *Writer, lane *Lane, p packWants) error {
	err := c.repo.Load(ctx, chunk.Data, p.data, func(at int, data []byte) error { return lane.Save(ctx, p.data[at], data) })
	if err == nil {
		err = c.repo.Load(ctx, chunk.Map, p.maps, func(at int, data []byte) error {
			_, err := w.SaveMap(ctx, data)
			return err
		})
	}
	if errors.Is(err, pack.ErrDamaged) {
		return fmt.Errorf("copy needed chunks: %w; 'platter check --read-data' records damaged packs, and prune then keeps them", err)
	}
	c.progress.Add(p.size)
	return err
}
