package serve

import (
	"context"
	"fmt"
	"time"

	"platter/repo"
	"platter/snapshot"
	"platter/snapshot/backup"
)

// Saved returns the snapshot that Save will store for a copy of a version: a version of the disk called name. The error
// says that the name belongs to another disk. all are the versions of the repository.
func Saved(all []*snapshot.Snapshot, of *snapshot.Snapshot, name string, now time.Time) (*snapshot.Snapshot, error) {
	if err := snapshot.CheckName(name); err != nil {
		return nil, err
	}
	s := &snapshot.Snapshot{Name: name, Host: of.Host, Source: of.Source, Modified: of.Modified}
	if name == of.Name {
		s.Disk = of.DiskID()
		return s, nil
	}
	newest := snapshot.LineOf(all, name, of.Host, now).Newest()
	if newest == nil {
		s.Disk = s.DiskID()
		return s, nil
	}
	if s.Disk = newest.DiskID(); newest.Parent == nil || !descends(all, newest, of) {
		return nil, fmt.Errorf("%q is the name of another disk: choose another name, or %q for a new version of the same disk", name, of.Name)
	}
	return s, nil
}

// descends reports whether a version was saved from a version of the same disk as of.
func descends(all []*snapshot.Snapshot, s, of *snapshot.Snapshot) bool {
	for _, parent := range all {
		if s.Parent != nil && parent.ID == *s.Parent {
			return parent.DiskID() == of.DiskID() || parent.Name == s.Name && parent.ID != s.ID && descends(all, parent, of)
		}
	}
	return false
}

// Save stores what was written to a copy of a version as the snapshot s; see backup.Changed. Nothing may write to the copy
// meanwhile. It reads only what was written, and the chunks around it.
func (c *Copy) Save(ctx context.Context, r backup.Repository, of, s *snapshot.Snapshot, p *repo.Progress) error {
	if err := c.Sync(); err != nil {
		return fmt.Errorf("save what was written: %w", err)
	}
	return backup.Changed(ctx, r, c.Disk, c.Changed(ctx), of, s, p)
}
