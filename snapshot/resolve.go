package snapshot

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"platter/snapshot/image/anatomy"
)

var (
	// ErrNotFound says that no snapshot matches.
	ErrNotFound = errors.New("no such snapshot; 'snapshots' lists them")
	// ErrAmbiguous says that several do.
	ErrAmbiguous = errors.New("several snapshots match")
	// ErrNoPart says that a disk has no such partition.
	ErrNoPart = errors.New("no such partition")
	// ErrAmbiguousPart says that several partitions match.
	ErrAmbiguousPart = errors.New("several partitions match")
)

// Latest names the newest snapshot of all.
const Latest = "latest"

// minPrefix is how many digits of an ID name a snapshot.
const minPrefix = 4

// Find returns the snapshot that spec names, among snapshots that are sorted oldest first. spec is "latest", a name for
// its newest version, either with ~N for the Nth version before that, or at least four digits of an ID. The error wraps
// ErrNotFound or ErrAmbiguous, unless spec names a part of a disk: that is for FindPart.
//
// A version from the future would always be the newest. So a name skips such versions, and Find returns them, too. Only
// an ID finds them, or a name that has no other versions.
func Find(snapshots []*Snapshot, spec string, now time.Time) (found *Snapshot, passed []*Snapshot, err error) {
	if whole, part, ok := strings.Cut(spec, ":"); ok {
		return nil, nil, fmt.Errorf("%q names %q of a disk, but this takes a whole disk: give %q", spec, part, whole)
	}
	base, back, err := splitBack(spec)
	if err != nil {
		return nil, nil, err
	}
	var named, byID []*Snapshot
	for _, s := range snapshots {
		if (s.Name == base || base == Latest) && !s.IsFuture(now) {
			named = append(named, s)
		} else if s.Name == base || base == Latest {
			passed = append(passed, s)
		}
		if len(spec) >= minPrefix && strings.HasPrefix(s.ID.String(), strings.ToLower(spec)) {
			byID = append(byID, s)
		}
	}
	if len(named) == 0 {
		named, passed = passed, nil
	}
	switch {
	case len(named) > 0 && len(byID) > 0:
		return nil, nil, fmt.Errorf("%w: %q is a name and begins an id; write %s~0, or more of the id", ErrAmbiguous, spec, spec)
	case len(byID) > 1:
		return nil, nil, fmt.Errorf("%w: %d ids begin with %q; write more of it", ErrAmbiguous, len(byID), spec)
	case len(byID) == 1:
		return byID[0], nil, nil
	case len(named) == 0:
		return nil, nil, fmt.Errorf("%w: %q", ErrNotFound, spec)
	case back >= len(named):
		return nil, passed, fmt.Errorf("%w: %q has %d versions; the oldest is %s~%d", ErrNotFound, base, len(named), base, len(named)-1)
	}
	return named[len(named)-1-back], passed, nil
}

// splitBack splits "name~2" into its parts.
func splitBack(spec string) (base string, back int, err error) {
	base, digits, ok := strings.Cut(spec, "~")
	if !ok {
		return base, 0, nil
	}
	n, err := strconv.ParseUint(digits, 10, 31)
	if err != nil {
		return "", 0, fmt.Errorf("%w: %q: write a number after ~", ErrNotFound, spec)
	}
	return base, int(n), nil
}

// CheckName returns an error for a name that could be confused with another way to name a snapshot.
func CheckName(name string) error {
	switch {
	case name == "" || name == Latest || strings.TrimSpace(name) != name:
		return fmt.Errorf("name %q: it is empty or reserved, or begins or ends with a space", name)
	case len(name) > 255:
		return fmt.Errorf("name %.40q…: longer than 255 bytes", name)
	case !utf8.ValidString(name):
		return fmt.Errorf("name %q: it is not valid UTF-8", name)
	case strings.ContainsAny(name, "~:") || strings.ContainsFunc(name, func(c rune) bool { return !unicode.IsPrint(c) }):
		return fmt.Errorf("name %q: it must not contain ~, : or unprintable characters", name)
	}
	return nil
}

// CleanName makes a valid name from a source's name.
func CleanName(s string) string {
	s = strings.TrimSpace(strings.Map(func(c rune) rune {
		if c == '~' || c == ':' || !unicode.IsPrint(c) {
			return '-'
		}
		return c
	}, s))
	if CheckName(s) != nil {
		return "disk"
	}
	return s
}

// A Filter selects snapshots; empty fields match all.
type Filter struct {
	Name, Host string
	Tags       []string // all of them
	// Properties of the disk or of one of its partitions. Type is the type of its content, such as ext4 or FAT32. Label
	// is the content's label or the partition's name. UUID is that of the content, the partition or the table. Versions
	// without a record of partitions match none of them.
	Type, Label, UUID string
}

// Match reports whether the snapshot matches.
func (f Filter) Match(s *Snapshot) bool {
	for _, tag := range f.Tags {
		if !slices.Contains(s.Tags, tag) {
			return false
		}
	}
	return (f.Name == "" || s.Name == f.Name) && (f.Host == "" || s.Host == f.Host) && f.matchAnatomy(s.Anatomy)
}

// matchAnatomy reports whether the disk or a single partition matches all fields.
func (f Filter) matchAnatomy(d *anatomy.Disk) bool {
	if f.Type == "" && f.Label == "" && f.UUID == "" {
		return true
	}
	if d == nil {
		return false
	}
	match := func(c *anatomy.Content, name, uuid string) bool {
		if c == nil {
			c = new(anatomy.Content)
		}
		return (f.Type == "" || strings.EqualFold(f.Type, c.Type) || strings.EqualFold(f.Type, c.Version)) && (f.Label == "" || f.Label == c.Label || f.Label == name) &&
			(f.UUID == "" || strings.EqualFold(f.UUID, c.UUID) || strings.EqualFold(f.UUID, uuid))
	}
	return match(d.Content, "", d.ID) || slices.ContainsFunc(d.Partitions, func(p anatomy.Partition) bool {
		return match(p.Content, p.Name, p.UUID)
	})
}
