package restore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"platter/snapshot/image"
	"platter/snapshot/image/anatomy"
	"platter/snapshot/image/gpt"
)

// tables is what a disk records about its partitions.
type tables struct {
	disk   image.Disk
	look   *anatomy.Disk
	gpt    *gpt.Table // the one in use; nil if there is none or it is damaged
	damage error      // why the one in use is damaged
	unused bool       // there is one, but not in use
	first  []byte     // the disk's first sector
}

// readTables reads the partition tables of a disk with this sector size in bytes, 0 for unknown. Only a table in use
// can be moved. One that is not in use is treated as plain data: its room belongs to something else.
func readTables(ctx context.Context, disk image.Disk, sector int64) (*tables, error) {
	t := &tables{disk: disk, first: make([]byte, 512)}
	if _, err := disk.ReadAt(t.first, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	table, err := gpt.Read(disk, disk.Size(), sector)
	switch {
	case errors.Is(err, gpt.ErrDamaged):
		t.damage = err
	case errors.Is(err, gpt.ErrNone):
		t.unused = errors.Is(err, gpt.ErrUnused)
	case err != nil:
		return nil, err
	}
	t.gpt, t.look = table, anatomy.Read(disk, sector)
	return t, ctx.Err()
}

// sector returns the sector size in bytes that the table in use counts in; 0 if there is none.
func (t *tables) sector() int64 {
	switch {
	case t.gpt != nil:
		return t.gpt.Sector
	case t.look.Table == anatomy.MBR, t.damage != nil:
		return t.look.SectorSize
	}
	return 0
}

// suits returns an error if systems would not find the disk's partitions on the device.
func (t *tables) suits(d *Device) error {
	sector := t.sector()
	switch has := d.Identity.SectorSize; {
	case sector == 0:
	case d.IsPartition:
		return errors.New("the disk has partitions, and the device is one itself: systems do not look for partitions there")
	case has != 0 && has != sector:
		return fmt.Errorf("the partition table (%s) counts in sectors of %d bytes, and those of the device have %d: systems will not find the partitions there, "+
			"nor start from it", strings.ToUpper(t.look.Table), sector, has)
	}
	return nil
}

// smallest returns the size in bytes of the smallest device that holds the disk's partitions.
func (t *tables) smallest() int64 {
	least := int64(0)
	if c := t.look.Content; c != nil { // an ISO image that boots from a USB stick
		least = c.Size
	}
	switch {
	case t.usesEnd():
	case t.gpt != nil:
		return max(t.gpt.Smallest(), min(least+t.gpt.Room(), t.disk.Size()))
	case t.damage == nil && t.look.Table == anatomy.MBR:
		return min(max(t.endOfMBR(), least), t.disk.Size())
	}
	return t.disk.Size()
}

// usesEnd reports whether something uses the end of the disk although no partition holds it. RAID keeps its metadata
// there, and Windows its database of dynamic disks.
func (t *tables) usesEnd() bool {
	const dynamic = "0x42"
	return t.look.Table != "" && t.look.Content != nil && t.look.Content.Type == "linux_raid_member" ||
		slices.ContainsFunc(t.look.Partitions, func(p anatomy.Partition) bool { return t.look.Table == anatomy.MBR && p.Type == dynamic })
}

// endOfMBR returns where the last partition of the disk's MBR ends, in bytes. If the sector size is not known, it
// assumes the largest one with which all partitions fit on the disk.
func (t *tables) endOfMBR() int64 {
	end, ok := gpt.EndOfMBR(t.first, t.look.SectorSize)
	if !ok {
		return t.disk.Size()
	}
	for _, p := range t.look.Partitions {
		end = max(end, p.Off+p.Len)
	}
	for _, sector := range gpt.Sectors(0) {
		if other, _ := gpt.EndOfMBR(t.first, sector); t.look.Doubtful && other <= t.disk.Size() {
			end = max(end, other)
		}
	}
	return end
}

// warnOfUnit warns if a device's sectors are too large for a file system.
func (f *Fit) warnOfUnit(disk image.Disk, off, n int64, d *Device) {
	if c, unit := anatomy.ContentAt(disk, off, n); unit != 0 && unit < d.Identity.SectorSize {
		f.warn("the file system (%s) is read in pieces of %d bytes, and the sectors of the device have %d: systems will not mount it there",
			c.Type, unit, d.Identity.SectorSize)
	}
}
