package repo

import (
	"context"
	"encoding/json"
	"fmt"

	"platter/pack"
	"platter/repo/crypt"
	"platter/repo/layout"
	"platter/repo/store"
)

// PutSnapshot stores a snapshot's JSON and returns its file ID. When it returns, the snapshot is durable. The caller
// must have held the current lease since before it loaded the index that listed the snapshot's chunks. The error wraps
// ErrLeaseLost if that lease is missing.
func (r *Repo) PutSnapshot(ctx context.Context, plain []byte) (pack.FileID, error) {
	if err := r.writable(); err != nil {
		return pack.FileID{}, err
	}
	if len(plain) > layout.MaxSnapshot-layout.Padding-1024 {
		return pack.FileID{}, fmt.Errorf("put snapshot: %d bytes are too many", len(plain))
	}
	sealed := crypt.NewBox(r.master, crypt.Snapshots, r.id).Seal(layout.Pad(plain))
	file := append(pack.Header(pack.SnapshotFile), sealed...)
	id := pack.Sum(file)
	return id, r.commit(ctx, file, layout.Name(layout.Snapshots, id))
}

// commit gives a snapshot or an index file its name. It fails if the lease was lost; see lease.Holder.Commit.
func (r *Repo) commit(ctx context.Context, file []byte, name string) error {
	if r.dry {
		return nil
	}
	err := r.leases.Commit(ctx, file, name)
	if err == nil {
		r.remember(name, file)
	}
	return err
}

// SnapshotName returns the name in the store of a snapshot.
func SnapshotName(id pack.FileID) string { return layout.Name(layout.Snapshots, id) }

// GetSnapshot returns a snapshot's JSON. The error wraps pack.ErrDamaged if the JSON is not what was stored.
func (r *Repo) GetSnapshot(ctx context.Context, id pack.FileID) ([]byte, error) {
	return r.openNamed(ctx, layout.Snapshots, id, pack.SnapshotFile, crypt.Snapshots, layout.MaxSnapshot)
}

// Drop makes the next read of a file come from the store and not from this machine's page cache.
func (r *Repo) Drop(name string) { store.Drop(r.view().store, name) }

// ListSnapshots returns the file IDs of all snapshots, in no order.
func (r *Repo) ListSnapshots(ctx context.Context) ([]pack.FileID, error) {
	files, err := layout.List(ctx, r.view().store, layout.Snapshots)
	return layout.IDs(files), err
}

// listSnapshotsNow is ListSnapshots for a process that deletes what no snapshot needs; see layout.ListNow.
func (r *Repo) listSnapshotsNow(ctx context.Context) ([]pack.FileID, error) {
	files, err := layout.ListNow(ctx, r.view().store, layout.Snapshots)
	return layout.IDs(files), err
}

func (r *Repo) openNamed(ctx context.Context, dir string, id pack.FileID, kind pack.FileKind, p crypt.Purpose, limit int64) ([]byte, error) {
	sealed, err := layout.ReadNamed(ctx, r.view().store, dir, id, kind, limit)
	if err != nil {
		return nil, err
	}
	plain, err := crypt.NewBox(r.master, p, r.id).Open(sealed)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", layout.Name(dir, id), pack.ErrDamaged, err)
	}
	return plain, nil
}

// putJSON seals JSON and stores it under its file ID.
func (r *Repo) putJSON(ctx context.Context, dir string, kind pack.FileKind, p crypt.Purpose, says any) (pack.FileID, error) {
	plain, err := json.Marshal(says)
	if err != nil {
		return pack.FileID{}, fmt.Errorf("encode %T: %w", says, err)
	}
	id, _, err := layout.PutNamed(ctx, r.view().store, dir, kind, crypt.NewBox(r.master, p, r.id).Seal(layout.Pad(plain)))
	return id, err
}

// lister is layout.ListNow for a Repo that holds a lease, and layout.List for one that only reads.
func (r *Repo) lister() func(context.Context, store.Store, string) ([]layout.File, error) {
	if r.holdsLease() {
		return layout.ListNow
	}
	return layout.List
}
