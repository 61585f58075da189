package repo

import (
	"context"
	"fmt"
	"sync"

	"golang.org/x/sync/errgroup"

	"platter/index"
	"platter/pack"
)

// Repaired is what RepairIndex did.
type Repaired struct {
	Packs   int      `json:"packs"`          // in the new index
	Kept    int      `json:"kept"`           // of them whose own table could not be read: an old index file stood in for it
	Lost    []string `json:"lost,omitempty"` // packs that no table could be had for, a sentence each
	Bad     []string `json:"bad,omitempty"`  // old index files that could not be read, a sentence each
	Index   int      `json:"index_files"`    // new ones
	Removed int      `json:"removed"`        // old ones
}

// RepairIndex makes a new index from the tables in the packs themselves, and removes the old one once the new is durable.
// It needs no index to be loaded, and loads the new one. It must not run beside a backup that it would not see the packs
// of; those would be taken in by the next repair.
func (r *Repo) RepairIndex(ctx context.Context, p *Progress) (*Repaired, error) {
	if err := r.writable(); err != nil {
		return nil, err
	}
	done := new(Repaired)
	old, err := list(ctx, r.store, indexDir)
	if err != nil {
		return nil, err
	}
	packs, err := list(ctx, r.store, packsDir)
	if err != nil {
		return nil, err
	}
	known, err := r.oldTables(ctx, old, done)
	if err != nil {
		return nil, err
	}
	for _, f := range packs {
		p.Expect(f.size) // packs are not read whole, but equal shares of them are
	}
	tables, err := r.tables(ctx, packs, known, done, p)
	if err != nil {
		return nil, err
	}
	supersedes := make([]pack.ID, len(old))
	for i, f := range old {
		supersedes[i] = f.id
	}
	fresh, err := r.putIndexes(ctx, tables, supersedes)
	if err != nil {
		return nil, err
	}
	done.Packs, done.Index = len(tables), len(fresh)
	for _, f := range old {
		if err := r.store.Delete(ctx, fileName(indexDir, f.id)); err != nil && !gone(err) {
			return nil, fmt.Errorf("remove old index: %w", err)
		}
		done.Removed++
	}
	return done, r.LoadIndex(ctx)
}

// oldTables reads what can be read of the old index.
func (r *Repo) oldTables(ctx context.Context, old []listed, done *Repaired) (map[pack.ID]*pack.Table, error) {
	known := map[pack.ID]*pack.Table{}
	for _, f := range old {
		decoded, err := r.readIndex(ctx, f.id)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			done.Bad = append(done.Bad, err.Error())
			continue
		}
		for _, p := range decoded.Packs {
			known[p.ID] = p.Table
		}
	}
	return known, nil
}

// tables reads the table of every pack, on all cores.
func (r *Repo) tables(ctx context.Context, packs []listed, known map[pack.ID]*pack.Table, done *Repaired, p *Progress) ([]index.PackTable, error) {
	var mu sync.Mutex
	var out []index.PackTable
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(4 * r.workers) // small reads: what takes time is waiting for the store
	for _, f := range packs {
		g.Go(func() error {
			table, err := r.readTable(gctx, f.id, f.size)
			mu.Lock()
			defer mu.Unlock()
			p.Add(f.size)
			if err != nil && known[f.id] != nil {
				table, err = known[f.id], nil
				done.Kept++
			}
			if err != nil {
				done.Lost = append(done.Lost, fmt.Sprintf("%s: %v", packName(f.id), err))
			} else {
				out = append(out, index.PackTable{Pack: index.Pack{ID: f.id, Size: f.size}, Table: table})
			}
			return gctx.Err()
		})
	}
	return out, g.Wait()
}
