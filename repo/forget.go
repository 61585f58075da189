package repo

import (
	"context"
	"fmt"

	"platter/pack"
)

// Forget removes snapshot files, one after the other in the order given, and returns how many are gone. What they are made
// of stays until it is pruned. One that is not there any more counts as removed: somebody else was first. After an error,
// or a crash, the rest are there as before.
func (r *Repo) Forget(ctx context.Context, ids []pack.ID) (removed int, err error) {
	if err := r.writable(); err != nil {
		return 0, err
	}
	for i, id := range ids {
		if err := r.store.Delete(ctx, fileName(snapshotsDir, id)); err != nil && !gone(err) {
			return i, fmt.Errorf("forget snapshots, %d of %d done: %w", i, len(ids), err)
		}
	}
	return len(ids), nil
}
