package snapshot

import "time"

// A Coming is a version that is about to be stored, with the fields that decide what precedes it.
type Coming struct {
	Name, Host string
	Time       time.Time // of the version
	Dated      bool      // the user chose Time; it is not the time of the backup
	Parent     *Snapshot // the parent that the user chose; nil for the newest version of Name and Host
	Now        time.Time // by the clock of the machine that runs the backup
	Store      time.Time // by the clock of the store; zero if unknown
}

// A Succession is what precedes a version.
type Succession struct {
	Parent *Snapshot   // what the backup compares with; nil if there is none
	Newest *Snapshot   // the newest version of the name and host; nil if there is none
	Before *Snapshot   // the newest of these that is not later than the version; nil if there is none
	Passed []*Snapshot // versions of the name and host from the future, which were skipped
	Late   bool        // Newest is later than the clock, and the user chose no time
	Future bool        // the chosen time is in the future
	Apart  bool        // the clocks of machine and store differ by more than time zones can
}

// clockApart is more than the error of a file system that stores local time.
const clockApart = 26 * time.Hour

// Succeed finds what precedes a version among all, which is sorted oldest first. A clock that was reset is behind. So a
// version is from the future only by both clocks: the machine's and the store's.
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
		s.Late = s.Newest.Time.After(v.Now) // not v.Time: another backup may have started after this one
		if s.Before == nil {
			s.Before = s.Newest
		}
	}
	s.Apart = !v.Store.IsZero() && v.Time.Sub(v.Store) > clockApart
	return s
}
