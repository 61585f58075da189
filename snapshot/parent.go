package snapshot

import "time"

// A Coming is a version that is about to be stored, as far as it decides what precedes it.
type Coming struct {
	Name, Host string
	Time       time.Time // of the version
	Dated      bool      // Time was chosen, and is not the time of the backup
	Parent     *Snapshot // that was chosen; nil for the newest of Name and Host
	Now        time.Time // by the clock of the machine that makes the backup
	Store      time.Time // by the clock of the store; zero if unknown
}

// A Succession is what precedes a version.
type Succession struct {
	Parent *Snapshot   // what the backup compares with; nil for none
	Newest *Snapshot   // the newest version of the name and host; nil for none
	Before *Snapshot   // the newest of these that is not later than the version; nil for none
	Passed []*Snapshot // versions of the name and host that are dated in the future, and were passed over
	Late   bool        // Newest is later than the clock, and no time was chosen
	Future bool        // the chosen time is in the future
	Apart  bool        // the clocks of machine and store differ by more than a time zone
}

// clockApart is more than the error of a file system that stores local time.
const clockApart = 26 * time.Hour

// Succeed finds what precedes a version among all, which are sorted oldest first. A clock that was reset is behind, so a version is
// in the future only if it is so by both clocks: by the machine's and by the store's.
func Succeed(all []*Snapshot, v Coming) Succession {
	now := v.Now
	if v.Store.After(now) {
		now = v.Store
	}
	line := LineOf(all, v.Name, v.Host, now)
	s := Succession{Parent: v.Parent, Newest: line.Newest(), Before: line.Before(v.Time)}
	if s.Parent == nil {
		s.Parent = s.Newest
	}
	if len(line.Real) > 0 {
		s.Passed = line.Future
	}
	if v.Dated {
		s.Future = v.Time.After(now.Add(clockSlack))
		return s
	}
	if s.Newest != nil {
		s.Late = s.Newest.Time.After(v.Now) // not v.Time: another backup may have begun after this one
		if s.Before == nil {
			s.Before = s.Newest
		}
	}
	s.Apart = !v.Store.IsZero() && v.Time.Sub(v.Store) > clockApart
	return s
}
