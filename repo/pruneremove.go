package repo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"golang.org/x/sync/errgroup"

	"platter/index"
	"platter/pack"
	"platter/repo/layout"
	"platter/repo/store"
)

// remove announces the packs to delete, looks again whether they are still unneeded, and deletes those that are. It
// returns how many it deleted.
func (p *pruner) remove(ctx context.Context, going map[pack.FileID]*use, copied bool) (deleted int, err error) {
	if err := p.announce(ctx, going); err != nil {
		return 0, err
	}
	if p.repo.upgraded {
		p.done.Upgraded = true
		for _, u := range going {
			p.done.Pending.add(u.size)
		}
		return 0, nil
	}
	markers, known, err := p.ripe(ctx)
	if err != nil {
		return 0, err
	}
	wanted := going
	going, held, err := p.again(ctx, known, copied)
	if err != nil {
		return 0, err
	}
	p.done.Pending = Amount{}
	for id, u := range wanted {
		if (held || !known[id]) && !u.missing {
			p.done.Pending.add(u.size)
		}
	}
	if held {
		return 0, nil
	}
	if err := p.explained(ctx, going); err != nil {
		return 0, err
	}
	if err := p.dropFromIndex(ctx, going); isFull(err) {
		// There is no room for the new index files before the packs are deleted. Until the new files exist, the markers
		// explain why the index lists missing packs.
		if deleted, err = p.deletePacks(ctx, going); err == nil {
			err = p.dropFromIndex(ctx, going)
		}
		if err != nil {
			return deleted, err
		}
	} else if err != nil {
		return 0, err
	} else if deleted, err = p.deletePacks(ctx, going); err != nil {
		return deleted, err
	}
	if err := p.endMarkers(ctx, markers, going); err != nil {
		return deleted, err
	}
	if len(going) == 0 {
		return deleted, nil
	}
	return deleted, p.repo.LoadIndex(ctx)
}

// again marks the current snapshots once more. It returns the condemned packs that no snapshot needs, and the missing
// ones. If neither snapshots nor packs were added since, the old marks still hold. held means that a process reads a
// snapshot that no mark keeps any more.
func (p *pruner) again(ctx context.Context, condemned map[pack.FileID]bool, copied bool) (going map[pack.FileID]*use, held bool, err error) {
	ids, err := p.repo.listSnapshotsNow(ctx)
	if err == nil {
		ids, err = p.accounted(ctx, ids)
	}
	if err != nil {
		return nil, false, err
	}
	if copied || slices.ContainsFunc(ids, func(id pack.FileID) bool { return !p.snapshots[id] }) {
		if err := p.look(ctx); err != nil {
			return nil, false, err
		}
	} else {
		p.repo.view().index.Suspend(slices.Collect(maps.Keys(p.condemned)))
	}
	if held, err = p.readsForgotten(ctx); err != nil || held {
		return nil, held, err
	}
	s, err := p.repo.scanPacks(ctx, p.marks)
	if err != nil {
		return nil, false, err
	}
	going = s.dead()
	maps.DeleteFunc(going, func(id pack.FileID, u *use) bool { return !condemned[id] && !u.missing })
	p.done.Unused = 0
	for id, u := range s.packs {
		if going[id] == nil && !u.missing {
			p.done.Unused += u.unused()
		}
	}
	return going, false, nil
}

// dropFromIndex replaces the index files that list packs to be deleted. After that, every process that opens the
// repository knows nothing of those packs.
func (p *pruner) dropFromIndex(ctx context.Context, going map[pack.FileID]*use) error {
	files, err := layout.ListNow(ctx, p.repo.view().store, layout.Index)
	if err != nil {
		return err
	}
	there := map[pack.FileID]bool{}
	for _, f := range files {
		there[f.ID] = true
	}
	counting, err := p.repo.countingIndexes(ctx)
	if err != nil {
		return err
	}
	for _, f := range counting {
		old, err := p.repo.readIndex(ctx, f.ID)
		if layout.IsMissing(err) { // another process replaced it and acknowledged our marker; leave the new file alone
			continue
		}
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(old.Packs, func(t index.PackTable) bool { return going[t.ID] != nil }) {
			continue
		}
		if err := p.replaceIndex(ctx, f.ID, old, going, there); err != nil {
			return err
		}
	}
	return nil
}

func (p *pruner) replaceIndex(ctx context.Context, id pack.FileID, old *index.File, going map[pack.FileID]*use, there map[pack.FileID]bool) error {
	// Without this file, the files that it supersedes would count again.
	superseded := slices.DeleteFunc(slices.Clone(old.Supersedes), func(s pack.FileID) bool { return !there[s] })
	left := slices.DeleteFunc(slices.Clone(old.Packs), func(t index.PackTable) bool { return going[t.ID] != nil })
	if err := p.repo.leases.Check(ctx); err != nil {
		return err
	}
	if len(left) > 0 {
		if _, err := p.repo.putIndexes(ctx, left, append(superseded, id), fullIndex); err != nil {
			return err
		}
	}
	for _, name := range append(superseded, id) {
		if err := p.repo.view().store.Delete(ctx, layout.Name(layout.Index, name)); err != nil && !layout.IsMissing(err) {
			return fmt.Errorf("remove old index: %w", err)
		}
	}
	return nil
}

// deletePacks deletes packs and the files beside them, and returns how many packs it deleted.
func (p *pruner) deletePacks(ctx context.Context, going map[pack.FileID]*use) (deleted int, err error) {
	// An earlier prune may have put an index file and received an error. That file may not be durable. If it were lost,
	// the files that it supersedes would count again.
	if err := store.SyncDir(ctx, p.repo.view().store, layout.Index); err != nil {
		return 0, err
	}
	if err := p.repo.leases.Check(ctx); err != nil {
		return 0, err
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(4 * p.repo.workers)
	for id, u := range going {
		if u.missing {
			continue
		}
		deleted++
		p.done.Deleted.add(u.size)
		g.Go(func() error {
			err := p.repo.view().store.Delete(gctx, layout.PackName(id))
			if err == nil || layout.IsMissing(err) {
				err = p.repo.view().store.Delete(gctx, layout.ParityName(id))
			}
			if layout.IsMissing(err) {
				return nil
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return 0, errors.Join(err, context.Cause(ctx))
	}
	return deleted, nil
}
