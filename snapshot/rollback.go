package snapshot

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"platter/repo"
)

// A Loaded has the snapshots of a repository, and those that this machine saw before and that are missing: rollback
// detection.
type Loaded struct {
	Snapshots  []*Snapshot // those that can be read, oldest first
	Unreadable []error     // one for each snapshot that cannot be read
	Missing    []repo.Seen // versions that this machine saw, that are missing, and that were not forgotten
}

// LoadSeen loads all snapshots, finds those that are missing, and records those that exist. If this machine has no
// memory of the repository (repo.UseMemory), none are ever missing.
func LoadSeen(ctx context.Context, r *repo.Repo) (*Loaded, error) {
	all, bad, err := Load(ctx, r)
	if err != nil {
		return nil, err
	}
	missing, err := MissingSeen(ctx, r, all, bad)
	if err != nil {
		return nil, err
	}
	return &Loaded{all, bad, missing}, nil
}

// MissingWhenRead returns the error of a snapshot that was listed and then missing, although it was not forgotten; nil if
// there is none. Until that is explained, a policy must not decide on the others.
func (l *Loaded) MissingWhenRead() error {
	for _, err := range l.Unreadable {
		if errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// A Place is the repository that was at a location, and when.
type Place struct {
	ID   string    // of the repository
	Seen time.Time // when this machine last opened it there; zero if unknown
}

// A PlaceVerdict compares the repository at a location with the one that was there before.
type PlaceVerdict int

// Verdicts on a place.
const (
	PlaceKnown    PlaceVerdict = iota // the same repository, or the first one there
	PlaceNew                          // a repository that was created after the other one was last seen
	PlaceReplaced                     // one that existed before: the store may have brought back older state
)

// ComparePlace compares a repository, created at a given time, with the previous one at that place; nil if there was
// none. A store can only bring back what it had. So a repository created after the last look was created by somebody
// with its password, and needs no alarm.
func ComparePlace(before *Place, id string, created time.Time) PlaceVerdict {
	switch {
	case before == nil, before.ID == id:
		return PlaceKnown
	case !before.Seen.IsZero() && !created.Before(before.Seen):
		return PlaceNew
	}
	return PlaceReplaced
}
