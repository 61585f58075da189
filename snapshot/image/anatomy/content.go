package anatomy

import "strings"

// A found is content and the place of its superblock.
type found struct {
	Content
	at   int64 // byte offset on the disk
	unit int64 // bytes; the content's own sector or block size, which the system reads it in; 0 if any device will do
}

// in sets the unit, in bytes.
func (f *found) in(unit int64) *found {
	f.unit = unit
	return f
}

// content returns the content, or nil if nothing was found.
func (f *found) content() *Content {
	if f == nil {
		return nil
	}
	f.Size = max(f.Size, 0)
	return &f.Content
}

// A prober looks for one kind of content in a section. It returns nil if there is none.
type prober func(*section) *found

// Types that other code compares with.
const (
	typeMD  = "linux_raid_member"
	typeISO = "iso9660"
)

// probers are in order of priority: containers come before content that may be inside them or left over from before.
var probers = []prober{
	md, lvm, luks, bitlocker, zfs,
	fat, exfat, ntfs, swap, xfs, ext, btrfs, f2fs, squashfs, apfs, hfs, iso9660,
}

// probe runs all probers and returns the most likely content of the section.
func (r *reader) probe(s *section, who string) (first *found) {
	var others []string
	for _, probe := range probers {
		f := probe(s)
		switch {
		case f == nil:
		case first == nil:
			first = f
		case f.Type != typeISO && f.Type != "hfs" && f.Type != "hfsplus": // these are combined with others on purpose
			others = append(others, f.Type)
		}
	}
	if len(others) > 0 {
		r.note("%s looks like %s and also like %s: one of them is left over from before", who, first.Type, strings.Join(others, ", "))
	}
	return first
}

func (s *section) found(at int64, c Content) *found { return &found{Content: c, at: s.off + at} }
