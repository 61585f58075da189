package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
)

// A Settler is a store in which a file can be seen before it is there to stay: whoever put it was killed just then, or was
// told that it failed. Who builds upon a file that somebody else has put asks for this first.
type Settler interface {
	// Settle makes durable which files there are directly in dir. It is no error that there is no such folder.
	Settle(ctx context.Context, dir string) error
}

// Settle makes durable which files there are directly in dir, where s can tell that from what is to be seen there.
func Settle(ctx context.Context, s Store, dir string) error {
	if s, ok := s.(Settler); ok {
		return s.Settle(ctx, dir)
	}
	return nil
}

var _, _ Settler = (*Local)(nil), (*Cached)(nil)

// Settle syncs the folder, and those above it.
func (l *Local) Settle(ctx context.Context, dir string) error {
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
		return fmt.Errorf("settle %q: %w", dir, err)
	}
	return nil
}

// Settle passes it on.
func (c *Cached) Settle(ctx context.Context, dir string) error { return Settle(ctx, c.Store, dir) }
