package repo

import (
	"errors"
	"fmt"
	"os"
	"time"

	"platter/repo/lease"
	"platter/repo/store"
)

// Deleting rests on what listings do not show: a lease that is not there, a snapshot that does not need a pack. Network file
// systems show folders as they were a while ago. Three things keep that from doing harm; docs/design.md has the argument:
// whoever deletes or builds has each folder listed anew (listNow), prune waits as long as listings of others may be old, and
// where nobody can tell how old they are, the user has to.

const (
	// otherMachines is how old listings of machines may be whose file systems this one does not see.
	otherMachines = time.Minute
	// unknownLag is counted where a file system does not tell: rclone, for one, remembers folders for five minutes.
	unknownLag = 5 * time.Minute
)

// ErrUnknownLag says that nobody knows how old what the store lists may be; see UnknownLagError.
var ErrUnknownLag = errors.New("it is not known how old a listing of its folders may be")

// An UnknownLagError names the file system that may list folders as they were, nobody knows how long ago.
type UnknownLagError struct{ FileSystem string }

func (e *UnknownLagError) Error() string {
	return fmt.Sprintf("the repository is on a file system of type %s, which may go on showing a folder as it was some time ago; "+
		"say with --grace how long that may be (of 'rclone mount' it is --dir-cache-time, 5m unless set), or prune on the NAS itself", e.FileSystem)
}

// Unwrap returns ErrUnknownLag.
func (e *UnknownLagError) Unwrap() error { return ErrUnknownLag }

// SetGrace says how old what the store lists may be, where it cannot tell by itself.
func (r *Repo) SetGrace(d time.Duration) { r.grace = &d }

// UnknownLag returns the type of the store's file system where nobody knows how old a listing may be, and how long a writer waits
// on that account; "" elsewhere.
func (r *Repo) UnknownLag() (kind string, waits time.Duration) {
	lag := r.storeLag()
	return lag.Unknown, r.listingAge()
}

// storeLag asks the store how old what it lists may be.
func (r *Repo) storeLag() store.Lag {
	if s, ok := store.As[store.Lagging](r.view().store); ok {
		return s.Lag()
	}
	return store.Lag{}
}

// listingAge is how old what the store lists may be, as far as anybody knows.
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

// lagOfAll is how old what any machine lists may be that uses the repository.
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

// allOfThisHost reports whether every lease, marker and snapshot was made on this machine. What does not say where counts as made
// elsewhere.
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
