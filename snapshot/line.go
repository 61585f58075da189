package snapshot

import (
	"slices"
	"time"
)

// IsFuture reports whether the version's time is later than now by more than clocks differ: a clock was wrong when it was
// kept, or is now.
func (s *Snapshot) IsFuture(now time.Time) bool { return s.Time.After(now.Add(clockSlack)) }

// A Line is the versions of one name and host, oldest first.
type Line struct {
	Real, Future []*Snapshot // by whether their time has come
}

// LineOf chooses the versions of a name and host among all, which are sorted oldest first.
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

// Newest returns the newest version whose time has come, or, where there is none, the newest of all; nil when there are
// none.
func (l Line) Newest() *Snapshot {
	for _, versions := range [...][]*Snapshot{l.Real, l.Future} {
		if n := len(versions); n > 0 {
			return versions[n-1]
		}
	}
	return nil
}

// Before returns the newest version whose time has come and is not after at; nil when there is none.
func (l Line) Before(at time.Time) *Snapshot {
	for _, s := range slices.Backward(l.Real) {
		if !s.Time.After(at) {
			return s
		}
	}
	return nil
}
