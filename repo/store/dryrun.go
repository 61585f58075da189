package store

import (
	"context"
	"errors"
	"time"
)

// DryRun forwards reads and changes nothing: it drops all writes, moves and deletions. A command with a DryRun does all
// its work except the last step, and so shows what it would do.
type DryRun struct{ Store }

// DryRun must implement every capability that may write: otherwise As would find that of the wrapped store.
var (
	_ Store     = DryRun{}
	_ DirSyncer = DryRun{}
	_ Refresher = DryRun{}
	_ Sweeper   = DryRun{}
)

// Unwrap returns the wrapped store; see As.
func (d DryRun) Unwrap() Store { return d.Store }

// Put checks the name and drops the data.
func (DryRun) Put(ctx context.Context, name string, _ []byte) error {
	return errors.Join(checkName(name), ctx.Err())
}

// Move checks the names and moves nothing.
func (DryRun) Move(ctx context.Context, from, to string) error {
	return errors.Join(checkName(from), checkName(to), ctx.Err())
}

// Touch checks the name and writes nothing.
func (DryRun) Touch(ctx context.Context, name string) error {
	return errors.Join(checkName(name), ctx.Err())
}

// Delete checks the name and deletes nothing.
func (DryRun) Delete(ctx context.Context, name string) error {
	return errors.Join(checkName(name), ctx.Err())
}

// SyncDir syncs nothing: no writes need it.
func (DryRun) SyncDir(ctx context.Context, dir string) error {
	return errors.Join(checkName(dir), ctx.Err())
}

// Refresh refreshes nothing, because that needs a write. So a dry run may see an old listing of a folder.
func (DryRun) Refresh(ctx context.Context, dir string) error {
	return errors.Join(checkName(dir), ctx.Err())
}

// Sweep removes nothing.
func (DryRun) Sweep(ctx context.Context, _ time.Time) (files int, bytes int64, err error) {
	return 0, 0, ctx.Err()
}
