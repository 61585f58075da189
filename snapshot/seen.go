package snapshot

import (
	"context"
	"errors"

	"platter/pack"
	"platter/repo"
)

// MissingSeen returns the versions that this machine has seen, that are missing, and that Forget has not recorded as
// removed. They stay missing until Accept. Snapshots and bad are what Load returned; MissingSeen records all of them as
// seen.
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

// RecordSeen records a snapshot that this machine has just stored.
func RecordSeen(r *repo.Repo, s *Snapshot) { r.RecordSeen(seen([]*Snapshot{s})...) }

// Accept makes this machine accept the present snapshots as complete. The error is that of this machine's memory.
func Accept(r *repo.Repo, snapshots []*Snapshot) error {
	var named []pack.FileID
	for _, s := range snapshots {
		if s.Parent != nil {
			named = append(named, *s.Parent)
		}
	}
	return r.Accept(seen(snapshots), named)
}
