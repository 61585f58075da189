package snapshot

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"platter/snapshot/image/nbd"
)

// DiskID is the same for all versions of one disk: that of the first version, made of the disk's name and source.
// Versions written before there were disk IDs get one from their own name and source.
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

// DefaultName is the name of a disk to which the user gives none.
func DefaultName(host, base string) string { return CleanName(host + "/" + base) }

// hasDefaultName reports whether the name may have been made of the path.
func (s *Snapshot) hasDefaultName() bool {
	base := s.Source.Path[strings.LastIndexAny(s.Source.Path, `/\`)+1:]
	if s.Source.Kind == nbd.Kind {
		base = nbd.DiskName(s.Source.Path)
	}
	return s.Name == DefaultName(s.Host, base)
}

// A member is a version, with the facts that decide which disk it belongs to.
type member struct {
	*Snapshot
	id    string
	named bool
	marks []string
}

func newMember(s *Snapshot) *member {
	return &member{s, s.DiskID(), !s.hasDefaultName(), marks(s.Anatomy)}
}

// isOf reports whether two versions of one name and host belong to one disk, as far as their own fields show. old is
// the older one.
func (m *member) isOf(old *member) bool {
	e := evidence{place: comparePlaces(old.Source, m.Source), named: old.named || m.named, resized: old.Size != m.Size}
	e.hardware, _ = compareHardware(old.Source, m.Source, nil)
	if e.hardware == same || e.place != placeElsewhere || e.named { // else marks decide nothing and may be many
		e.marks = compareMarks(old.marks, m.marks)
	}
	return e.verdict() != Another
}

// disks groups the versions of one name and host, oldest first, by disk. Versions name their disk themselves; those
// that an older platter wrote are compared. An older platter took two disks of one name for one, so places that
// alternate count as separate disks.
func disks(versions []*Snapshot) (all [][]*Snapshot) {
	members, last := make([]*member, len(versions)), map[string]int{}
	for i, s := range versions {
		members[i] = newMember(s)
		last[members[i].id] = i
	}
	var newest []*member      // of each disk
	group := map[string]int{} // the newest disk that has a version with this ID
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
