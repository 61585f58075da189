package snapshot

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// DiskID is the same for all versions of one disk: the one of its first version, which is made of what it was called and
// where it came from. Versions from before there was one are told apart by that alone.
func (s *Snapshot) DiskID() string {
	if s.Disk != "" {
		return s.Disk
	}
	at := s.Source.where()
	if s.Source.Serial != "" || s.Source.WWN != "" {
		at = ""
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q %q %q %d", s.Host, s.Name, at, s.Source.Serial, s.Source.WWN, s.Source.Partition))
	return hex.EncodeToString(sum[:8])
}

// DefaultName is what a disk is called when nobody gives it a name.
func DefaultName(host, base string) string { return CleanName(host + "/" + base) }

// hasDefaultName reports whether the name may be the one that was made of the path.
func (s *Snapshot) hasDefaultName() bool {
	base := s.Source.Path[strings.LastIndexAny(s.Source.Path, `/\`)+1:]
	return s.Name == DefaultName(s.Host, base)
}

// A member is a version with what decides which disk it is of.
type member struct {
	*Snapshot
	id    string
	named bool
	marks []string
}

func newMember(s *Snapshot) *member {
	return &member{s, s.DiskID(), !s.hasDefaultName(), marks(s.Anatomy)}
}

// isOf reports whether two versions of one name and host are of one disk, as far as they say it themselves. old is the
// older one.
func (m *member) isOf(old *member) bool {
	e := evidence{place: comparePlaces(old.Source, m.Source), named: old.named || m.named, resized: old.Size != m.Size}
	e.hardware, _ = compareHardware(old.Source, m.Source, nil)
	if e.hardware == same || e.place != placeElsewhere || e.named { // else they decide nothing, and there may be many versions
		e.marks = compareMarks(old.marks, m.marks)
	}
	return e.verdict() != Another
}

// disks parts the versions of one name and host, oldest first, into those of one disk each. Versions say themselves which
// disk they are of; those that an older platter kept are compared. That one took two disks of one name for one, so of places
// that take turns each is a disk.
func disks(versions []*Snapshot) (all [][]*Snapshot) {
	members, last := make([]*member, len(versions)), map[string]int{}
	for i, s := range versions {
		members[i] = newMember(s)
		last[members[i].id] = i
	}
	var newest []*member      // of each disk
	group := map[string]int{} // the newest disk that has a version with the id
	find := func(i int, m *member) int {
		if n, ok := group[m.id]; ok && (m.Disk != "" || m.isOf(newest[n])) {
			return n
		}
		for n, old := range slices.Backward(newest) {
			takesTurns := old.Disk == "" && m.Disk == "" && old.id != m.id && comparePlaces(old.Source, m.Source) == placeElsewhere && last[old.id] > i
			if !takesTurns && m.isOf(old) {
				return n
			}
		}
		return len(newest)
	}
	for i, m := range members {
		n := find(i, m)
		if n == len(newest) {
			all, newest = append(all, nil), append(newest, nil)
		}
		all[n], newest[n] = append(all[n], m.Snapshot), m
		group[m.id] = n
	}
	return all
}
