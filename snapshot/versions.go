package snapshot

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Versions are all versions of one disk. They have the same name and host, but versions with the same name and host may
// belong to several disks.
type Versions struct {
	Name, Host string
	From       string     // source of the newest version, if several disks have the name and host
	Decisions  []Decision // oldest first
}

// A Decision says whether a version stays.
type Decision struct {
	*Snapshot
	Reasons []string // why it stays; without a reason it is forgotten
	Future  bool     // it is from the future
}

// Stays reports whether the version is kept.
func (d Decision) Stays() bool { return len(d.Reasons) > 0 }

func (d *Decision) because(reason string) { d.Reasons = append(d.Reasons, reason) }

// clockSlack is how far a snapshot's time may be ahead of this machine's clock: no two clocks agree.
const clockSlack = 5 * time.Minute

// versions sorts snapshots by disk and then by time. Nothing is decided yet.
func versions(snapshots []*Snapshot, now time.Time) (all []Versions) {
	sorted := slices.SortedFunc(slices.Values(snapshots), func(a, b *Snapshot) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Host, b.Host), byTime(a, b))
	})
	for len(sorted) > 0 {
		first, n := sorted[0], 1
		for n < len(sorted) && sorted[n].Name == first.Name && sorted[n].Host == first.Host {
			n++
		}
		parted := disks(sorted[:n])
		for _, disk := range parted {
			v := Versions{Name: first.Name, Host: first.Host}
			if len(parted) > 1 {
				v.From = disk[len(disk)-1].Source.String()
			}
			for _, s := range disk {
				v.Decisions = append(v.Decisions, Decision{Snapshot: s, Future: s.IsFuture(now)})
			}
			all = append(all, v)
		}
		sorted = sorted[n:]
	}
	return all
}

// Going returns the versions to forget, oldest first.
func (v Versions) Going() (going []*Snapshot) {
	for _, d := range v.Decisions {
		if !d.Stays() {
			going = append(going, d.Snapshot)
		}
	}
	return going
}

// String describes the disk for the user.
func (v Versions) String() string {
	var more []string
	if v.Host != "" {
		more = append(more, "host "+v.Host)
	}
	if v.From != "" {
		more = append(more, "from "+v.From)
	}
	if len(more) == 0 {
		return v.Name
	}
	return fmt.Sprintf("%s (%s)", v.Name, strings.Join(more, ", "))
}

// counted counts the versions that are not from the future, and how many of them are forgotten.
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
