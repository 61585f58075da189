package repo

import (
	"context"
	"path"

	"platter/index"
	"platter/repo/layout"
	"platter/repo/store"
)

// Adopt adopts the orphaned packs that LoadIndex found, which a backup stored before it was killed. It returns how
// many. Unreadable packs stay where they are, and Check counts them. Call Adopt under the lease of the work that
// follows, or else a Prune could delete the packs again.
func (r *Repo) Adopt(ctx context.Context) (n int, err error) {
	err = r.WithLease(ctx, BackingUp, func(ctx context.Context) error {
		n, err = r.adopt(ctx)
		return err
	})
	return n, err
}

func (r *Repo) adopt(ctx context.Context) (int, error) {
	orphans := r.view().adoptable
	if len(orphans) == 0 {
		return 0, nil
	}
	unreadable := func(layout.File, error) (*index.PackTable, error) { return nil, nil }
	tables, err := r.tables(ctx, orphans, unreadable, nil)
	if err != nil || len(tables) == 0 {
		return 0, err
	}
	if err := r.settlePacks(ctx, tables); err != nil {
		return 0, err
	}
	if _, err := r.putIndexes(ctx, tables, nil, fullIndex); err != nil {
		return 0, err
	}
	for _, t := range tables {
		r.view().index.AddPack(t.Pack, t.Table)
	}
	r.dropAdoptable(func(layout.File) bool { return true })
	return len(tables), nil
}

// settlePacks makes packs of other processes durable. Such a process may have been killed before they were.
func (r *Repo) settlePacks(ctx context.Context, tables []index.PackTable) error {
	folders := map[string]bool{}
	for _, t := range tables {
		folders[path.Dir(layout.PackName(t.ID))] = true
	}
	for folder := range folders {
		if err := store.SyncDir(ctx, r.view().store, folder); err != nil {
			return err
		}
	}
	return nil
}
