package serve

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/zeebo/blake3"

	"platter/pack"
	"platter/snapshot"
	"platter/snapshot/image"
	"platter/snapshot/overlay"
)

// A Copy is a version that can be written to. What is written goes to an overlay, and the version stays as it is.
type Copy struct {
	*overlay.Disk
	base *Disk
}

var _ image.Writable = (*Copy)(nil)

// Close closes the overlay and ends the use of the version. What a completed Sync covered is in the overlay's file, if it
// has a name.
func (c *Copy) Close() error { return errors.Join(c.Disk.Close(), c.base.Close()) }

// Copies are copies of versions whose overlays last as long as the Copies. It is safe for concurrent use.
type Copies struct {
	library *Library
	folder  string // of the overlays; "" for the system's folder for temporary files

	mu  sync.Mutex
	all map[pack.FileID]*Copy
}

// NewCopies returns Copies with their overlays in a folder; see overlay.Temporary.
func NewCopies(l *Library, folder string) *Copies {
	return &Copies{library: l, folder: folder, all: map[pack.FileID]*Copy{}}
}

// Open returns the copy of a version, which Close of the Copies closes. All who open a version get the same copy.
func (c *Copies) Open(ctx context.Context, s *snapshot.Snapshot) (*Copy, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if one, ok := c.all[s.ID]; ok {
		return one, nil
	}
	one, err := c.library.copy(ctx, s, func(base image.Disk) (*overlay.Disk, error) { return overlay.Temporary(c.folder, base) })
	if err == nil {
		c.all[s.ID] = one
	}
	return one, err
}

// Close closes all copies and discards what was written to them.
func (c *Copies) Close() (err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, one := range c.all {
		err = errors.Join(err, one.Close())
		delete(c.all, id)
	}
	return err
}

// NewCopy makes an overlay at path, and opens the version with it. The error wraps fs.ErrExist if there is such a file.
func (l *Library) NewCopy(ctx context.Context, repo string, s *snapshot.Snapshot, path string) (*Copy, error) {
	return l.copy(ctx, s, func(base image.Disk) (*overlay.Disk, error) { return overlay.Create(path, base, binding(repo, s)) })
}

// OpenCopy opens the version with an overlay that NewCopy made for it; see overlay.Open.
func (l *Library) OpenCopy(ctx context.Context, repo string, s *snapshot.Snapshot, path string) (*Copy, error) {
	return l.copy(ctx, s, func(base image.Disk) (*overlay.Disk, error) { return overlay.Open(path, base, binding(repo, s)) })
}

func (l *Library) copy(ctx context.Context, s *snapshot.Snapshot, over func(base image.Disk) (*overlay.Disk, error)) (*Copy, error) {
	base, err := l.Open(ctx, s)
	if err != nil {
		return nil, err
	}
	d, err := over(base)
	if err != nil {
		return nil, errors.Join(err, base.Close())
	}
	return &Copy{d, base}, nil
}

// binding names the version that an overlay belongs to. repo is the ID of its repository.
func binding(repo string, s *snapshot.Snapshot) overlay.Binding {
	return blake3.Sum256(fmt.Appendf(nil, "platter overlay of a version\x00%s\x00%s\x00%d", repo, s.ID, s.Size))
}
