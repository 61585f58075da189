package anatomy

import "strings"

// A found thing is content, and where its mark is.
type found struct {
	Content
	at   int64 // byte of the disk
	unit int64 // bytes, the shortest run that systems read of it; 0 where any device's sectors will do
}

// in sets the shortest run that is read, in bytes.
func (f *found) in(unit int64) *found {
	f.unit = unit
	return f
}

// content returns what was found; nil for nothing.
func (f *found) content() *Content {
	if f == nil {
		return nil
	}
	f.Size = max(f.Size, 0)
	return &f.Content
}

// A prober looks for one kind of content in a section; nil when it is not there.
type prober func(*section) *found

// Types that are told apart by name elsewhere.
const (
	typeMD  = "linux_raid_member"
	typeISO = "iso9660"
)

// probers are sorted by who is to be believed: containers before what may lie in them or be left of what was there before.
var probers = []prober{
	md, lvm, luks, bitlocker, zfs,
	fat, exfat, ntfs, swap, xfs, ext, btrfs, f2fs, squashfs, apfs, hfs, iso9660,
}

// probe looks for everything, and returns what the section most likely holds.
func (r *reader) probe(s *section, who string) (first *found) {
	var others []string
	for _, probe := range probers {
		f := probe(s)
		switch {
		case f == nil:
		case first == nil:
			first = f
		case f.Type != typeISO && f.Type != "hfs" && f.Type != "hfsplus": // these go together with others on purpose
			others = append(others, f.Type)
		}
	}
	if len(others) > 0 {
		r.note("%s looks like %s, and like %s as well: one of them is what was there before", who, first.Type, strings.Join(others, ", "))
	}
	return first
}

func (s *section) found(at int64, c Content) *found { return &found{Content: c, at: s.off + at} }
