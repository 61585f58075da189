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

// sameDisk reports whether two versions of one name and host are of one disk, as far as they say it themselves. The older
// comes first.
func sameDisk(a, b *Snapshot) bool {
	e := evidence{
		place:   comparePlaces(a.Source, b.Source),
		marks:   compareMarks(marks(a.Anatomy), marks(b.Anatomy)),
		named:   !a.hasDefaultName() || !b.hasDefaultName(),
		resized: a.Size != b.Size,
	}
	e.hardware, _ = compareHardware(a.Source, b.Source, nil)
	return e.verdict() != Another
}

// DefaultName is what a disk is called when nobody gives it a name.
func DefaultName(host, base string) string { return CleanName(host + "/" + base) }

// hasDefaultName reports whether the name may be the one that was made of the path.
func (s *Snapshot) hasDefaultName() bool {
	base := s.Source.Path[strings.LastIndexAny(s.Source.Path, `/\`)+1:]
	return s.Name == DefaultName(s.Host, base)
}

// disks parts the versions of one name and host, oldest first, into those of one disk each. Versions say themselves which
// disk they are of; those that an older platter kept are compared. That one took two disks of one name for one, so of places
// that take turns each is a disk.
func disks(versions []*Snapshot) (all [][]*Snapshot) {
	last := map[string]int{}
	for i, s := range versions {
		last[s.DiskID()] = i
	}
	ids := []map[string]bool{} // of each disk
	find := func(i int, s *Snapshot) int {
		fits := func(n int) bool {
			newest := all[n][len(all[n])-1]
			return sameDisk(newest, s)
		}
		for n := range slices.Backward(all) {
			if ids[n][s.DiskID()] && (s.Disk != "" || fits(n)) {
				return n
			}
		}
		for n := range slices.Backward(all) {
			newest := all[n][len(all[n])-1]
			takesTurns := newest.Disk == "" && s.Disk == "" && newest.DiskID() != s.DiskID() &&
				comparePlaces(newest.Source, s.Source) == placeElsewhere && last[newest.DiskID()] > i
			if !takesTurns && fits(n) {
				return n
			}
		}
		return -1
	}
	for i, s := range versions {
		n := find(i, s)
		if n < 0 {
			n = len(all)
			all, ids = append(all, nil), append(ids, map[string]bool{})
		}
		all[n] = append(all[n], s)
		ids[n][s.DiskID()] = true
	}
	return all
}
