package snapshot

import (
	"slices"
	"time"
)

// IsFuture reports whether the version's time is later than now by more than clocks usually differ. Then a clock was
// wrong at the backup, or is wrong now.
func (s *Snapshot) IsFuture(now time.Time) bool { return s.Time.After(now.Add(clockSlack)) }

// A Line has the versions of one name and host, oldest first.
type Line struct {
	Real, Future []*Snapshot // those that are not from the future, and those that are
}

// LineOf selects the versions of a name and host from all, which is sorted oldest first.
func LineOf(all []*Snapshot, name, host string, now time.Time) (l Line) {
	for _, s := range all {
		switch {
		case s.Name != name || s.Host != host:
		case s.IsFuture(now):
			l.Future = append(l.Future, s)
		default:
			l.Real = append(l.Real, s)
		}
	}
	return l
}

// Newest returns the newest version that is not from the future. If there is none, it returns the newest of all; nil if
// there are none.
func (l Line) Newest() *Snapshot {
	for _, versions := range [...][]*Snapshot{l.Real, l.Future} {
		if n := len(versions); n > 0 {
			return versions[n-1]
		}
	}
	return nil
}

// Before returns the newest version that is neither from the future nor later than at; nil if there is none.
func (l Line) Before(at time.Time) *Snapshot {
	for _, s := range slices.Backward(l.Real) {
		if !s.Time.After(at) {
			return s
		}
	}
	return nil
}
