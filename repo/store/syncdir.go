package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
)

// A DirSyncer is a store in which a file can be visible before it is durable. That happens if the process that put it
// was killed at that moment, or got an error. A process that builds on a file of another process syncs its directory
// first.
type DirSyncer interface {
	// SyncDir makes the list of files directly in dir durable. A missing dir is no error.
	SyncDir(ctx context.Context, dir string) error
}

// SyncDir makes the list of files directly in dir durable, if s is a DirSyncer.
func SyncDir(ctx context.Context, s Store, dir string) error {
	if s, ok := As[DirSyncer](s); ok {
		return s.SyncDir(ctx, dir)
	}
	return nil
}

var _ DirSyncer = (*Local)(nil)

// SyncDir syncs the folder and those above it.
func (l *Local) SyncDir(ctx context.Context, dir string) error {
	err := checkName(dir)
	for ; err == nil && dir != "."; dir = path.Dir(dir) {
		if err = ctx.Err(); err == nil {
			err = l.at(ctx).SyncFolder(dir)
		}
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	}
	if err == nil {
		err = l.at(ctx).SyncFolder(".")
	}
	if err != nil {
		return fmt.Errorf("sync folder %q: %w", dir, err)
	}
	return nil
}
