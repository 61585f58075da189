package snapshot

import (
	"slices"
	"strings"

	"platter/snapshot/image/anatomy"
)

// sharedTypes are contents whose UUID is that of a whole array or pool, so several disks have the same one.
var sharedTypes = [...]string{"linux_raid_member", "zfs_member", "btrfs", "drbd", "ddf_raid_member", "isw_raid_member", "bcache"}

// marks returns the IDs that a disk carries: those of its partition table, its partitions and their contents. A copy of
// a disk has the same ones.
func marks(d *anatomy.Disk) (all []string) {
	if d == nil {
		return nil
	}
	add := func(kind, number string) {
		if strings.Trim(number, "0-:") != "" { // zeros are no ID
			all = append(all, kind+" "+strings.ToLower(number))
		}
	}
	content := func(c *anatomy.Content) {
		if c != nil && !slices.Contains(sharedTypes[:], c.Type) {
			add(c.Type, c.UUID)
		}
	}
	add(d.Table, d.ID)
	content(d.Content)
	for _, p := range d.Partitions {
		if d.Table == anatomy.GPT {
			add("partition", p.UUID)
		}
		content(p.Content)
	}
	return all
}

// compareMarks compares the marks of two disks. One common mark makes the disks the same, because a partition table or
// a file system may be created again. If either has no mark, the result is unknown.
func compareMarks(a, b []string) sameness {
	switch {
	case len(a) == 0 || len(b) == 0:
		return unknown
	case slices.ContainsFunc(a, func(m string) bool { return slices.Contains(b, m) }):
		return same
	}
	return other
}
