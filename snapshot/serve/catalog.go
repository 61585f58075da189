package serve

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"time"

	"platter/pack"
	"platter/snapshot"
	"platter/snapshot/image"
)

// refreshEvery is how old a Catalog's list of versions may be. A list costs the store one listing, and a read for each
// version that is new.
const refreshEvery = 5 * time.Second

// A Catalog lists the versions of a repository, and follows them while others back up and forget. It is safe for
// concurrent use.
type Catalog struct {
	load  func(ctx context.Context, known []*snapshot.Snapshot) ([]*snapshot.Snapshot, error)
	match func(*snapshot.Snapshot) bool

	mu     sync.Mutex
	known  []*snapshot.Snapshot // what was loaded last
	all    []*snapshot.Snapshot // those of known that match selects, oldest first
	loaded time.Time
}

// NewCatalog returns a Catalog of the versions that match selects; nil selects all. load returns all versions of the
// repository, oldest first, given those that it returned the last time. known are those of a moment ago.
func NewCatalog(known []*snapshot.Snapshot, load func(ctx context.Context, known []*snapshot.Snapshot) ([]*snapshot.Snapshot, error), match func(*snapshot.Snapshot) bool) *Catalog {
	c := &Catalog{load: load, match: match}
	c.take(known)
	return c
}

// take remembers a list. c.mu is held, or c is new.
func (c *Catalog) take(all []*snapshot.Snapshot) {
	c.known, c.all, c.loaded = all, nil, time.Now()
	for _, s := range all {
		if c.match == nil || c.match(s) {
			c.all = append(c.all, s)
		}
	}
}

// Snapshots returns the versions, oldest first. The caller does not change them. If the store does not answer, the list is
// that of the last time, with the error.
func (c *Catalog) Snapshots(ctx context.Context) ([]*snapshot.Snapshot, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.loaded) < refreshEvery {
		return c.all, nil
	}
	all, err := c.load(ctx, c.known)
	if err != nil {
		return c.all, err
	}
	c.take(all)
	return c.all, nil
}

// Disks returns the names of the disks that have versions, sorted.
func (c *Catalog) Disks(ctx context.Context) ([]string, error) {
	all, err := c.Snapshots(ctx)
	names := map[string]bool{}
	var list []string
	for _, s := range all {
		if !names[s.Name] {
			names[s.Name] = true
			list = append(list, s.Name)
		}
	}
	slices.Sort(list)
	return list, err
}

// Versions returns the versions of a disk, oldest first.
func (c *Catalog) Versions(ctx context.Context, disk string) ([]*snapshot.Snapshot, error) {
	all, err := c.Snapshots(ctx)
	return slices.DeleteFunc(slices.Clone(all), func(s *snapshot.Snapshot) bool { return s.Name != disk }), err
}

// Find returns the version of an ID. The error wraps fs.ErrNotExist if there is none.
func (c *Catalog) Find(ctx context.Context, id pack.FileID) (*snapshot.Snapshot, error) {
	all, err := c.Snapshots(ctx)
	if i := slices.IndexFunc(all, func(s *snapshot.Snapshot) bool { return s.ID == id }); i >= 0 {
		return all[i], nil
	}
	return nil, cmp.Or(err, fmt.Errorf("version %.8s: %w", id, fs.ErrNotExist))
}

// A PartDisk is a part of an open version, as a disk of its own. Close closes the version.
type PartDisk struct {
	*image.Section
	whole *Disk
}

// OpenPart opens a part of a version; see Open.
func (l *Library) OpenPart(ctx context.Context, s *snapshot.Snapshot, part snapshot.Part) (*PartDisk, error) {
	whole, err := l.Open(ctx, s)
	if err != nil {
		return nil, err
	}
	section, err := image.NewSection(whole, part.Off, part.Len)
	if err != nil {
		whole.Close()
		return nil, err
	}
	return &PartDisk{section, whole}, nil
}

// Close ends the use of the version.
func (p *PartDisk) Close() error { return p.whole.Close() }
