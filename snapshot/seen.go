package snapshot

import (
	"context"
	"errors"

	"platter/pack"
	"platter/repo"
)

// MissingSeen returns the versions that this machine has seen, that are not there any more, and that nobody has removed on
// purpose, as Forget records it. They are missed until Accept. Snapshots and bad are what Load returned; all of them are
// remembered from now on.
func MissingSeen(ctx context.Context, r *repo.Repo, snapshots []*Snapshot, bad []error) ([]repo.Seen, error) {
	var unreadable []pack.FileID
	for _, err := range bad {
		if u, ok := errors.AsType[*Unreadable](err); ok && !u.isMissing() {
			unreadable = append(unreadable, u.ID)
		}
	}
	return r.MissingSeen(ctx, seen(snapshots), unreadable)
}

func seen(snapshots []*Snapshot) []repo.Seen {
	out := make([]repo.Seen, len(snapshots))
	for i, s := range snapshots {
		out[i] = repo.Seen{ID: s.ID, Name: s.Name, Host: s.Host, Time: s.Time}
	}
	return out
}

// RecordSeen remembers a snapshot that this machine has just put.
func RecordSeen(r *repo.Repo, s *Snapshot) { r.RecordSeen(seen([]*Snapshot{s})...) }

// Accept makes this machine take what is there now for all there is. The error is of what it remembers with.
func Accept(r *repo.Repo, snapshots []*Snapshot) error {
	var named []pack.FileID
	for _, s := range snapshots {
		if s.Parent != nil {
			named = append(named, *s.Parent)
		}
	}
	return r.Accept(seen(snapshots), named)
}
