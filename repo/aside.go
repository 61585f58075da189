package repo

import (
	"context"
	"fmt"

	"platter/pack"
	"platter/repo/crypt"
	"platter/repo/layout"
)

// The folder aside/ holds snapshot files that were removed as damaged, under their old names. A file that looked
// damaged may be whole when the store is read again. So it is not destroyed before a check has verified all other
// snapshots. Programs that do not know the folder take these snapshots for forgotten.

// AsideName returns the name in the store of a snapshot that is kept aside.
func AsideName(id pack.FileID) string { return layout.Name(layout.Aside, id) }

// SetAside removes snapshots as Forget does, but keeps their files aside. It returns how many are done.
func (r *Repo) SetAside(ctx context.Context, ids []pack.FileID) (done int, err error) {
	if err := r.writable(); err != nil || len(ids) == 0 {
		return 0, err
	}
	there, err := r.ListSnapshots(ctx)
	if err != nil {
		return 0, fmt.Errorf("set snapshots aside: %w", err)
	}
	left := len(without(there, ids))
	if err := r.putRecord(ctx, ids, &left); err != nil {
		return 0, fmt.Errorf("set snapshots aside: %w", err)
	}
	for i, id := range ids {
		if err := r.view().store.Move(ctx, SnapshotName(id), AsideName(id)); err != nil && !layout.IsMissing(err) {
			return i, fmt.Errorf("set snapshots aside, %d of %d done: %w", i, len(ids), err)
		}
	}
	return len(ids), nil
}

// ListAside returns the file IDs of the snapshots that are kept aside, in no order.
func (r *Repo) ListAside(ctx context.Context) ([]pack.FileID, error) {
	files, err := r.lister()(ctx, r.view().store, layout.Aside)
	return layout.IDs(files), err
}

// GetAside returns the JSON of a snapshot that is kept aside, as GetSnapshot does for others.
func (r *Repo) GetAside(ctx context.Context, id pack.FileID) ([]byte, error) {
	return r.openNamed(ctx, layout.Aside, id, pack.SnapshotFile, crypt.Snapshots, layout.MaxSnapshot)
}

// DropAside deletes snapshots that are kept aside.
func (r *Repo) DropAside(ctx context.Context, ids []pack.FileID) error {
	if err := r.writable(); err != nil {
		return err
	}
	for _, id := range ids {
		if err := r.view().store.Delete(ctx, AsideName(id)); err != nil && !layout.IsMissing(err) {
			return fmt.Errorf("delete what was kept aside: %w", err)
		}
	}
	return nil
}
