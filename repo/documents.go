package repo

import (
	"bytes"
	"context"
	"fmt"

	"platter/pack"
	"platter/repo/crypt"
	"platter/repo/layout"
	"platter/repo/store"
)

// PutSnapshot stores a snapshot's JSON and returns its name. When it returns, the snapshot is there to stay. It must be
// under the lease that has been held since the index was loaded in which its chunks were found. The error wraps ErrLeaseLost
// where that lease is not there any more.
func (r *Repo) PutSnapshot(ctx context.Context, json []byte) (pack.FileID, error) {
	if err := r.writable(); err != nil {
		return pack.FileID{}, err
	}
	if len(json) > layout.MaxSnapshot-layout.Padding-1024 {
		return pack.FileID{}, fmt.Errorf("put snapshot: %d bytes are too many", len(json))
	}
	sealed := crypt.NewBox(r.master, crypt.Snapshots, r.id).Seal(layout.Pad(json))
	file := append(pack.Header(pack.SnapshotFile), sealed...)
	id := pack.Sum(file)
	return id, r.commit(ctx, file, layout.Name(layout.Snapshots, id))
}

// commit gives a snapshot or an index file its name, unless the lease was lost.
//
// Whoever takes this process for dead deletes its lease first, then the pending file, and only then looks what snapshots
// there are. Where the lease is still there after the pending file was put, it is not too late for him to find that file:
// and either he deletes it, and there is nothing to move; or it was moved, and he sees what it is. However long this
// process sleeps between two of these steps, there is no third way.
func (r *Repo) commit(ctx context.Context, file []byte, name string) error {
	if r.dry {
		return nil
	}
	h := &r.lease
	h.putting.Lock()
	defer h.putting.Unlock()
	if h.users == 0 {
		return errNoLease
	}
	pending := layout.Name(layout.Pending, h.id)
	if err := r.store.Put(ctx, pending, file); err != nil {
		return err
	}
	err := r.checkLease(ctx)
	if err == nil {
		if err = r.store.Move(ctx, pending, name); err == nil {
			r.remember(name, file)
			return nil
		} else if !layout.IsMissing(err) {
			return err
		}
		// A server whose answer was lost is asked again, and then the file is not there because it was moved.
		if there, e := r.store.Get(ctx, name, 0, int64(len(file))); e == nil && bytes.Equal(there, file) {
			return nil
		}
		return ErrLeaseLost
	}
	_ = r.store.Delete(context.WithoutCancel(ctx), pending) // or whoever removed the lease does
	return err
}

// SnapshotName returns the name of a snapshot's file in the store.
func SnapshotName(id pack.FileID) string { return layout.Name(layout.Snapshots, id) }

// GetSnapshot returns a snapshot's JSON. The error wraps pack.ErrDamaged when it is not what was stored.
func (r *Repo) GetSnapshot(ctx context.Context, id pack.FileID) ([]byte, error) {
	return r.openNamed(ctx, layout.Snapshots, id, pack.SnapshotFile, crypt.Snapshots, layout.MaxSnapshot)
}

// Drop has the next read of a file come from the store, and not from what this machine's system remembers of it.
func (r *Repo) Drop(name string) { store.Drop(r.store, name) }

// ListSnapshots returns the names of all snapshots, in no order.
func (r *Repo) ListSnapshots(ctx context.Context) ([]pack.FileID, error) {
	files, err := layout.List(ctx, r.store, layout.Snapshots)
	return layout.IDs(files), err
}

// listSnapshotsNow is ListSnapshots for whoever deletes what they do not need; see listNow.
func (r *Repo) listSnapshotsNow(ctx context.Context) ([]pack.FileID, error) {
	files, err := layout.ListNow(ctx, r.store, layout.Snapshots)
	return layout.IDs(files), err
}

func (r *Repo) openNamed(ctx context.Context, dir string, id pack.FileID, kind pack.FileKind, p crypt.Purpose, limit int64) ([]byte, error) {
	sealed, err := layout.ReadNamed(ctx, r.store, dir, id, kind, limit)
	if err != nil {
		return nil, err
	}
	plain, err := crypt.NewBox(r.master, p, r.id).Open(sealed)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", layout.Name(dir, id), pack.ErrDamaged, err)
	}
	return plain, nil
}

// lister is layout.ListNow for a Repo that is at work under a lease, and layout.List for one that only reads.
func (r *Repo) lister() func(context.Context, store.Store, string) ([]layout.File, error) {
	if r.holdsLease() {
		return layout.ListNow
	}
	return layout.List
}
