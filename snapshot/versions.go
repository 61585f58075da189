package snapshot

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Versions are all versions of one disk: those with the same name and host.
type Versions struct {
	Name, Host string
	Decisions  []Decision // oldest first
}

// A Decision says of one version whether it stays.
type Decision struct {
	*Snapshot
	Reasons []string // why it stays; it goes when there is none
	Future  bool     // its time has not come yet
}

// Stays reports whether the version is kept.
func (d Decision) Stays() bool { return len(d.Reasons) > 0 }

func (d *Decision) because(reason string) { d.Reasons = append(d.Reasons, reason) }

// clockSlack is how far a snapshot's time may lie ahead of this machine's clock: no two clocks agree.
const clockSlack = 5 * time.Minute

// versions sorts snapshots by disk and then by time. Nothing is decided yet.
func versions(snapshots []*Snapshot, now time.Time) (disks []Versions) {
	sorted := slices.SortedFunc(slices.Values(snapshots), func(a, b *Snapshot) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Host, b.Host), byTime(a, b))
	})
	for _, s := range sorted {
		last := len(disks) - 1
		if last < 0 || disks[last].Name != s.Name || disks[last].Host != s.Host {
			disks = append(disks, Versions{Name: s.Name, Host: s.Host})
			last++
		}
		disks[last].Decisions = append(disks[last].Decisions, Decision{Snapshot: s, Future: s.Time.After(now.Add(clockSlack))})
	}
	return disks
}

// Going returns the versions that go, oldest first.
func (v Versions) Going() (going []*Snapshot) {
	for _, d := range v.Decisions {
		if !d.Stays() {
			going = append(going, d.Snapshot)
		}
	}
	return going
}

// String is what people call the disk.
func (v Versions) String() string {
	if v.Host == "" {
		return v.Name
	}
	return fmt.Sprintf("%s (host %s)", v.Name, v.Host)
}

// counted counts the versions whose time has come, and those of them that go.
func (v Versions) counted() (all, going int) {
	for _, d := range v.Decisions {
		if !d.Future {
			all++
			if !d.Stays() {
				going++
			}
		}
	}
	return all, going
}
