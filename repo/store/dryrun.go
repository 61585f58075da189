package store

import (
	"context"
	"errors"
	"time"
)

// DryRun passes reads on and changes nothing: what is put, created or moved is dropped, and what is deleted stays. It shows
// what work would do by doing all of it but the last step.
type DryRun struct{ Store }

// Each capability that may write must be here: As would find the one of the store behind it.
var (
	_ Store     = DryRun{}
	_ DirSyncer = DryRun{}
	_ Refresher = DryRun{}
	_ Sweeper   = DryRun{}
)

// Unwrap returns the store that is read; see As.
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

// SyncDir syncs nothing: nothing was written that must last.
func (DryRun) SyncDir(ctx context.Context, dir string) error {
	return errors.Join(checkName(dir), ctx.Err())
}

// Refresh refreshes nothing, because that takes a write. So a dry run may list a folder as it was a while ago.
func (DryRun) Refresh(ctx context.Context, dir string) error {
	return errors.Join(checkName(dir), ctx.Err())
}

// Sweep removes nothing.
func (DryRun) Sweep(ctx context.Context, _ time.Time) (files int, bytes int64, err error) {
	return 0, 0, ctx.Err()
}
