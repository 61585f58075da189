package restore

import (
	"fmt"
	"strings"

	"platter/snapshot/image"
	"platter/snapshot/image/anatomy"
)

// growers maps a content type to the command that grows it to fill a device; %s is the device.
var growers = map[string]string{
	"ext2":        "'resize2fs %s'",
	"ext3":        "'resize2fs %s'",
	"ext4":        "'resize2fs %s'",
	"xfs":         "'xfs_growfs' once %s is mounted",
	"btrfs":       "'btrfs filesystem resize max' once %s is mounted",
	"ntfs":        "'ntfsresize %s', or Windows",
	"f2fs":        "'resize.f2fs %s'",
	"crypto_LUKS": "'cryptsetup resize' once %s is open, and then what is in it",
	"LVM2_member": "'pvresize %s', and then what is in it",
	"vfat FAT32":  "'fatresize %s'",
}

// adviseGrowth advises how to grow the content of a run of the disk into the room after it, after the given steps.
func (f *Fit) adviseGrowth(disk image.Disk, off, n int64, node string, steps ...string) {
	if f.Left == 0 {
		return
	}
	if c, _ := anatomy.ContentAt(disk, off, n); c != nil {
		how, ok := growers[c.Type]
		if !ok {
			how, ok = growers[c.Type+" "+c.Version]
		}
		if ok {
			steps = append(steps, fmt.Sprintf(how+" (%s)", node, c.Type))
		}
	}
	if len(steps) > 0 {
		f.advise("there is room after it; to use that: %s", strings.Join(steps, ", then "))
	}
}

// partitionNode returns the path of a device's partition.
func partitionNode(name string, number int) string {
	if last := name[max(0, len(name)-1):]; last >= "0" && last <= "9" {
		name += "p"
	}
	return fmt.Sprintf("/dev/%s%d", name, number)
}
