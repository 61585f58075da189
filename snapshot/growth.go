package snapshot

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"platter/snapshot/image"
)

// growers are the file systems, and what takes their place, that can be grown, told by a few bytes; %s is the device.
var growers = [...]struct {
	off   int64
	magic string
	name  string
	how   string
}{
	{1080, "\x53\xef", "ext2, 3 or 4", "'resize2fs %s'"},
	{0, "XFSB", "XFS", "'xfs_growfs' once %s is mounted"},
	{65600, "_BHRfS_M", "Btrfs", "'btrfs filesystem resize max' once %s is mounted"},
	{3, "NTFS    ", "NTFS", "'ntfsresize %s', or Windows"},
	{1024, "\x10\x20\xf5\xf2", "F2FS", "'resize.f2fs %s'"},
	{0, "LUKS\xba\xbe", "LUKS", "'cryptsetup resize' once %s is open, and then what is in it"},
	{512, "LABELONE", "LVM", "'pvresize %s', and then what is in it"},
	{82, "FAT32   ", "FAT", "'fatresize %s'"},
}

// growerAt returns the name of what lies at a byte of a disk, and how it is made to fill a device; "" where that is not known.
func growerAt(disk image.Disk, off int64, node string) (name, how string, err error) {
	for _, g := range growers {
		head := make([]byte, len(g.magic))
		if off+g.off+int64(len(head)) > disk.Size() {
			continue
		}
		if _, err := disk.ReadAt(head, off+g.off); err != nil && !errors.Is(err, io.EOF) {
			return "", "", err
		}
		if bytes.Equal(head, []byte(g.magic)) {
			return g.name, fmt.Sprintf(g.how, node), nil
		}
	}
	return "", "", nil
}

// adviseGrowth says how the file system that lies at a byte of the disk is grown into the room behind it, after other steps.
func (f *Fit) adviseGrowth(disk image.Disk, off int64, node string, steps ...string) error {
	if f.Left == 0 {
		return nil
	}
	name, how, err := growerAt(disk, off, node)
	if name != "" {
		steps = append(steps, fmt.Sprintf("%s (%s)", how, name))
	}
	if err == nil && len(steps) > 0 {
		f.advise("there is room behind it; to use that: %s", strings.Join(steps, ", then "))
	}
	return err
}

// partitionNode is the path of a device's partition.
func partitionNode(name string, number int) string {
	if last := name[max(0, len(name)-1):]; last >= "0" && last <= "9" {
		name += "p"
	}
	return fmt.Sprintf("/dev/%s%d", name, number)
}
