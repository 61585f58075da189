package snapshot

import (
	"context"
	"errors"
	"fmt"

	"platter/repo"
)

// Reread reads a file again that could not be read, and returns why it still fails. If it does not fail, the error is
// ErrReadable.
func Reread(ctx context.Context, r Files, u *Unreadable) *Unreadable {
	r.Drop(repo.SnapshotName(u.ID))
	if _, err := load(ctx, r, u.ID); err != nil {
		return &Unreadable{u.ID, err}
	}
	return &Unreadable{u.ID, fmt.Errorf("%s: %w; run it again", repo.SnapshotName(u.ID), ErrReadable)}
}

// ErrReadable says that a file that could not be read before can be read now.
var ErrReadable = errors.New("it could not be read before, and now it can")
