package snapshot

import (
	"fmt"
	"slices"
	"strings"
)

// A grade is the quality of a version; smaller is better.
type grade int

const (
	whole      grade = iota
	mixed            // the source was modified during the backup
	unreadable       // some bytes of the disk could not be read, or are lost
)

func (g grade) String() string {
	return [...]string{"whole version", "version without unreadable bytes", "version"}[g]
}

// gradesOf returns the grade of each version of one disk. A version that 'repair snapshots' replaced is no better than
// its replacement: it claims to be whole, but the repository has lost parts of it.
func gradesOf(newestFirst []*Decision) []grade {
	grades := make([]grade, len(newestFirst))
	for i, d := range newestFirst {
		switch {
		case d.Unreadable > 0:
			grades[i] = unreadable
		case d.Modified:
			grades[i] = mixed
		}
		// A replacement has the time of the version it replaces, and sorts right before it.
		for j := i - 1; j >= 0 && newestFirst[j].Time.Equal(d.Time); j-- {
			if newestFirst[j].Replaces(d.Snapshot) {
				grades[i] = max(grades[i], grades[j])
			}
		}
	}
	return grades
}

// keepBetter keeps the newest version of each better grade if any version that stays is not whole.
func keepBetter(newestFirst []*Decision, grades []grade) {
	worst := whole
	for i, d := range newestFirst {
		if d.Stays() {
			worst = max(worst, grades[i])
		}
	}
	for g := whole; g < worst; g++ {
		if i := slices.Index(grades, g); i >= 0 && !newestFirst[i].Stays() {
			newestFirst[i].because("newest " + g.String())
		}
	}
}

// RepairNote is the start of a note that says which snapshot a repaired one was made from.
func RepairNote(old *Snapshot) string { return fmt.Sprintf("repaired from %s: ", old.ID) }

// Replaces reports whether 'repair snapshots' made the version to replace old.
func (s *Snapshot) Replaces(old *Snapshot) bool {
	return s.Time.Equal(old.Time) && strings.Contains(s.Note, RepairNote(old))
}
