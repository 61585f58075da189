package repo

import (
	"errors"
	"fmt"
	"os"
	"time"

	"platter/repo/lease"
	"platter/repo/store"
)

// Deletion relies on what listings do not show: a missing lease, a snapshot that does not need a pack. But network file
// systems may show folders in an earlier state. Three rules keep that from doing harm. Every process that deletes or
// builds refreshes its listings (layout.ListNow). A prune waits as long as other machines' listings may be old. If that
// age is unknown, the user has to give it. docs/leases.md has the argument.

const (
	// otherMachines is the assumed age of listings on other machines, whose file systems this one cannot see.
	otherMachines = time.Minute
	// unknownLag is the assumed age if a file system does not tell. rclone, for example, caches folders for five
	// minutes.
	unknownLag = 5 * time.Minute
)

// ErrUnknownLag says that the age of the store's listings is unknown; see UnknownLagError.
var ErrUnknownLag = errors.New("the listings of its folders may be outdated for an unknown time")

// An UnknownLagError names a file system whose listings may be old, for an unknown time.
type UnknownLagError struct{ FileSystem string }

func (e *UnknownLagError) Error() string {
	return fmt.Sprintf("the repository is on a file system of type %s, which may show an outdated folder; "+
		"give the longest time with --grace (for 'rclone mount', its --dir-cache-time, by default 5m), or prune on the NAS itself", e.FileSystem)
}

// Unwrap returns ErrUnknownLag.
func (e *UnknownLagError) Unwrap() error { return ErrUnknownLag }

// SetGrace sets how old the store's listings may be, if the store cannot tell.
func (r *Repo) SetGrace(d time.Duration) { r.grace = &d }

// UnknownLag returns the type of the store's file system if the age of its listings is unknown. waits is how long a
// writer waits because of that. kind is "" otherwise.
func (r *Repo) UnknownLag() (kind string, waits time.Duration) {
	lag := r.storeLag()
	return lag.Unknown, r.listingAge()
}

// storeLag asks the store how old its listings may be.
func (r *Repo) storeLag() store.Lag {
	if s, ok := store.As[store.Lagging](r.view().store); ok {
		return s.Lag()
	}
	return store.Lag{}
}

// listingAge returns how old the store's listings may be, as far as that is known.
func (r *Repo) listingAge() time.Duration {
	lag := r.storeLag()
	switch {
	case lag.Unknown == "":
		return lag.Time
	case r.grace != nil:
		return *r.grace
	}
	return unknownLag
}

// lagOfAll returns how old the listings may be on any machine that uses the repository.
func (p *pruner) lagOfAll(w *lease.State) time.Duration {
	if p.opts.Lag >= 0 {
		return p.opts.Lag
	}
	lag := p.repo.listingAge()
	if lag == 0 && !p.allOfThisHost(w) {
		return otherMachines
	}
	return lag
}

// allOfThisHost reports whether every lease, marker and snapshot was made on this machine. One that names no machine
// counts as made elsewhere.
func (p *pruner) allOfThisHost(w *lease.State) bool {
	host, err := os.Hostname()
	if err != nil || host == "" || host == "localhost" {
		return false
	}
	for _, l := range w.Leases {
		if l.Value.Host != host {
			return false
		}
	}
	for _, m := range w.Markers {
		if m.Value.Host != host {
			return false
		}
	}
	for id := range p.snapshots {
		if p.marks.hosts[id] != host {
			return false
		}
	}
	return len(w.Unreadable) == 0
}
