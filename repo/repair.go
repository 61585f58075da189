package repo

import (
	"context"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	"platter/index"
	"platter/pack"
	"platter/repo/layout"
)

// Repaired is the result of RepairIndex.
type Repaired struct {
	Packs      int      `json:"packs"`          // packs in the new index
	Kept       int      `json:"kept"`           // of those, packs with an unreadable table that an old index file replaced
	Lost       []string `json:"lost,omitempty"` // packs without any table, one sentence each
	Unreadable []string `json:"bad,omitempty"`  // old index files that could not be read, one sentence each
	Index      int      `json:"index_files"`    // new index files
	Removed    int      `json:"removed"`        // old index files
}

// RepairIndex makes a new index from the tables in the packs, and deletes the old one once the new one is durable. It
// needs no loaded index, and loads the new one. Do not run it during a backup, whose packs it might miss; the next
// repair would adopt those. RepairIndex reads the store itself: this Repo uses no cache from then on.
func (r *Repo) RepairIndex(ctx context.Context, p *Progress) (*Repaired, error) {
	var done *Repaired
	err := r.WithLease(ctx, Repairing, func(ctx context.Context) (err error) {
		done, err = r.repairIndex(ctx, p)
		return err
	})
	return done, err
}

func (r *Repo) repairIndex(ctx context.Context, p *Progress) (*Repaired, error) {
	r.dropCache()
	done := new(Repaired)
	old, err := layout.ListNow(ctx, r.view().store, layout.Index)
	if err != nil {
		return nil, err
	}
	packs, err := layout.List(ctx, r.view().store, layout.Packs)
	if err != nil {
		return nil, err
	}
	known, counts, err := r.oldTables(ctx, old, done)
	if err != nil {
		return nil, err
	}
	for _, f := range packs {
		p.Expect(f.Size) // only a part of each pack is read, in proportion to its size
	}
	var mu sync.Mutex
	tables, err := r.tables(ctx, packs, func(f layout.File, why error) (*index.PackTable, error) {
		if !layout.IsPermanent(why) {
			return nil, fmt.Errorf("%s: %w", layout.PackName(f.ID), why)
		}
		mu.Lock()
		defer mu.Unlock()
		if old, ok := known[f.ID]; ok {
			done.Kept++
			return &old, nil
		}
		done.Lost = append(done.Lost, fmt.Sprintf("%s: %v", layout.PackName(f.ID), why))
		return nil, nil
	}, p)
	if err != nil {
		return nil, err
	}
	for _, f := range packs {
		delete(known, f.ID)
	}
	_, found, _ := r.leases.Held()
	condemned := found.Condemned() // a prune condemned them and may have deleted them
	for id := range known {
		if condemned[id] || !counts[id] {
			continue
		}
		done.Lost = append(done.Lost, layout.PackName(id)+": it is missing")
	}
	supersedes := make([]pack.FileID, len(old))
	for i, f := range old {
		supersedes[i] = f.ID
	}
	if err := r.settlePacks(ctx, tables); err != nil {
		return nil, err
	}
	fresh, err := r.putIndexes(ctx, tables, supersedes, fullIndex)
	if err != nil {
		return nil, err
	}
	done.Packs, done.Index = len(tables), len(fresh)
	for _, f := range old {
		if err := r.view().store.Delete(ctx, layout.Name(layout.Index, f.ID)); err != nil && !layout.IsMissing(err) {
			return nil, fmt.Errorf("remove old index: %w", err)
		}
		done.Removed++
	}
	return done, r.LoadIndex(ctx)
}

// oldTables reads what it can of the old index, and which packs were still listed. Packs that only superseded files
// list may have been deleted on purpose.
func (r *Repo) oldTables(ctx context.Context, old []layout.File, done *Repaired) (known map[pack.FileID]index.PackTable, counts map[pack.FileID]bool, err error) {
	known, counts = map[pack.FileID]index.PackTable{}, map[pack.FileID]bool{}
	read, superseded := map[pack.FileID]*index.File{}, map[pack.FileID]bool{}
	for _, f := range old {
		decoded, err := r.readIndex(ctx, f.ID)
		if err != nil && !layout.IsPermanent(err) {
			return nil, nil, err
		}
		if err != nil {
			done.Unreadable = append(done.Unreadable, err.Error())
			continue
		}
		read[f.ID] = decoded
		for _, id := range decoded.Supersedes {
			superseded[id] = true
		}
	}
	for id, f := range read {
		for _, p := range f.Packs {
			known[p.ID] = p
			counts[p.ID] = counts[p.ID] || !superseded[id]
		}
	}
	return known, counts, nil
}

// tables reads the tables of packs, on all cores. bad decides about a pack whose table cannot be read. It returns a
// table from elsewhere, nil to leave the pack out, or an error to stop.
func (r *Repo) tables(ctx context.Context, packs []layout.File, bad func(layout.File, error) (*index.PackTable, error), p *Progress) ([]index.PackTable, error) {
	var mu sync.Mutex
	var out []index.PackTable
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(4 * r.workers) // small reads mostly wait for the store
	for _, f := range packs {
		g.Go(func() error {
			t := &index.PackTable{Pack: index.Pack{ID: f.ID, Size: f.Size}}
			var err error
			if t.Table, err = r.readTable(gctx, f.ID, f.Size); gctx.Err() != nil {
				return gctx.Err()
			} else if err != nil {
				t, err = bad(f, err)
			}
			mu.Lock()
			defer mu.Unlock()
			if p.Add(f.Size); err == nil && t != nil {
				out = append(out, *t)
			}
			return err
		})
	}
	return out, g.Wait()
}
