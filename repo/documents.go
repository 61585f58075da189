package repo

import (
	"bytes"
	"context"
	"fmt"

	"platter/pack"
	"platter/repo/crypt"
)

// padding is what sealed JSON is filled up to a multiple of, so that its length tells little of what it says.
const padding = 512

// pad fills JSON up with spaces, which JSON allows at its end.
func pad(json []byte) []byte {
	if n := len(json) % padding; n > 0 {
		json = append(json, bytes.Repeat([]byte{' '}, padding-n)...)
	}
	return json
}

// PutSnapshot stores a snapshot's JSON and returns its name. When it returns, the snapshot is there to stay.
func (r *Repo) PutSnapshot(ctx context.Context, json []byte) (pack.ID, error) {
	if err := r.writable(); err != nil {
		return pack.ID{}, err
	}
	if len(json) > maxSnapshot-padding-1024 {
		return pack.ID{}, fmt.Errorf("put snapshot: %d bytes are too many", len(json))
	}
	sealed := crypt.NewBox(r.master, crypt.Snapshots, r.id).Seal(pad(json))
	id, _, err := putNamed(ctx, r.store, snapshotsDir, pack.SnapshotFile, sealed)
	return id, err
}

// SnapshotName returns the name of a snapshot's file in the store.
func SnapshotName(id pack.ID) string { return fileName(snapshotsDir, id) }

// GetSnapshot returns a snapshot's JSON. The error wraps pack.ErrDamaged when it is not what was stored.
func (r *Repo) GetSnapshot(ctx context.Context, id pack.ID) ([]byte, error) {
	return r.openNamed(ctx, snapshotsDir, id, pack.SnapshotFile, crypt.Snapshots, maxSnapshot)
}

// ListSnapshots returns the names of all snapshots, in no order.
func (r *Repo) ListSnapshots(ctx context.Context) ([]pack.ID, error) {
	files, err := list(ctx, r.store, snapshotsDir)
	if err != nil {
		return nil, err
	}
	ids := make([]pack.ID, len(files))
	for i, f := range files {
		ids[i] = f.id
	}
	return ids, nil
}

func (r *Repo) openNamed(ctx context.Context, dir string, id pack.ID, kind pack.FileKind, p crypt.Purpose, limit int64) ([]byte, error) {
	sealed, err := readNamed(ctx, r.store, dir, id, kind, limit)
	if err != nil {
		return nil, err
	}
	plain, err := crypt.NewBox(r.master, p, r.id).Open(sealed)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", fileName(dir, id), pack.ErrDamaged, err)
	}
	return plain, nil
}
