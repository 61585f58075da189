package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io"

	"platter/repo"
	"platter/snapshot/image"
	"platter/snapshot/image/gpt"
)

// FitOptions say what may be done about a device of another size.
type FitOptions struct {
	GrowGPT   bool // move the second partition table to where a larger device ends
	ShrinkGPT bool // leave out what no partition holds and a smaller device has no room for
}

// A Fit says how a part of a snapshot's disk goes onto a device.
type Fit struct {
	Part   Part     // what is written: less than was asked for where the device is smaller
	Left   int64    // bytes of the device behind it
	Advice []string // what is to be known, or done afterwards: sentences without an end

	second, first []gpt.Write // a partition table to be written at the end; see gpt.Table.Moved
}

// Moves reports whether a partition table is to be moved.
func (f *Fit) Moves() bool { return len(f.first) > 0 }

func (f *Fit) advise(format string, args ...any) {
	f.Advice = append(f.Advice, fmt.Sprintf(format, args...))
}

// FitOnto finds out how a part of the snapshot's disk goes onto a device. The error says why it does not.
func FitOnto(ctx context.Context, r *repo.Repo, s *Snapshot, part Part, d *Device, o FitOptions) (*Fit, error) {
	fit, err := fitOnto(ctx, r, s, part, d, o)
	if err != nil {
		return nil, fmt.Errorf("restore to %s: %w", d.Path, err)
	}
	return fit, nil
}

func fitOnto(ctx context.Context, r *repo.Repo, s *Snapshot, part Part, d *Device, o FitOptions) (*Fit, error) {
	disk, err := s.Open(ctx, r)
	if err != nil {
		return nil, err
	}
	fit := &Fit{Part: part, Left: max(0, d.Size-part.Len)}
	if part.Off != 0 || part.Len != s.Size {
		return fit, fit.place(disk, d)
	}
	table, damage, err := readTable(disk)
	if err != nil {
		return nil, err
	}
	if table != nil {
		if unsuited := suits(table, d); unsuited != nil {
			fit.advise("%v", unsuited)
		}
	}
	if s.Size > d.Size {
		return fit, fit.shrink(disk, table, damage, d, o)
	}
	return fit, fit.grow(disk, table, damage, d, o)
}

// readTable reads the partition table of a disk; nil where there is none, or none that holds: damage says so.
func readTable(disk image.Disk) (table *gpt.Table, damage, err error) {
	table, err = gpt.Read(disk, disk.Size())
	switch {
	case errors.Is(err, gpt.ErrDamaged):
		return nil, err, nil
	case errors.Is(err, gpt.ErrNone):
		return nil, nil, nil
	}
	return table, nil, err
}

// suits returns an error that says why systems will not find a disk's partitions on a device; nil where they will.
func suits(table *gpt.Table, d *Device) error {
	switch sector := d.Identity.SectorSize; {
	case d.IsPartition:
		return errors.New("the disk has partitions, and the device is one itself: systems do not look for partitions there")
	case sector != 0 && sector != table.Sector:
		return fmt.Errorf("the partition table counts in sectors of %d bytes, and those of the device have %d: systems will not find the partitions there",
			table.Sector, sector)
	}
	return nil
}

// place puts a part of a disk onto a device.
func (f *Fit) place(disk image.Disk, d *Device) error {
	if f.Part.Len > d.Size {
		return tooSmall(d.Size, f.Part.Len)
	}
	f.adviseGrowth(disk, f.Part.Off, f.Part.Len, "/dev/"+d.Name)
	return nil
}

// shrink puts a disk onto a smaller device.
func (f *Fit) shrink(disk image.Disk, table *gpt.Table, damage error, d *Device, o FitOptions) error {
	least, err := smallest(disk, table, d.Identity.SectorSize)
	switch {
	case err != nil:
		return err
	case damage != nil:
		return fmt.Errorf("%w; %w, so what could be left out is not known", tooSmall(d.Size, least), damage)
	case d.Size < least:
		return tooSmall(d.Size, least)
	case !o.ShrinkGPT:
		return fmt.Errorf("it is smaller than the disk: it has %d bytes where that has %d; no partition holds anything behind its end, "+
			"so --shrink-gpt would leave that out", d.Size, disk.Size())
	}
	f.Part.Len = d.Size
	if table == nil {
		return nil // an MBR does not say where the disk ends
	}
	if err := suits(table, d); err != nil {
		return fmt.Errorf("it is smaller than the disk, and %w", err)
	}
	return f.move(table, d)
}

// smallest returns how small a device may be that the partitions of a disk have room on, in bytes.
func smallest(disk image.Disk, table *gpt.Table, sector int64) (int64, error) {
	if table != nil {
		sector = table.Sector
	}
	end, ok, err := endOfMBR(disk, sector)
	switch {
	case err != nil:
		return 0, err
	case table != nil:
		return max(end, table.Smallest()), nil
	case ok:
		return min(end, disk.Size()), nil
	}
	return disk.Size(), nil
}

func endOfMBR(disk image.Disk, sector int64) (end int64, ok bool, err error) {
	first := make([]byte, 512)
	if _, err := disk.ReadAt(first, 0); err != nil && !errors.Is(err, io.EOF) {
		return 0, false, err
	}
	end, ok = gpt.EndOfMBR(first, max(sector, 512))
	return end, ok, nil
}

// grow puts a disk onto a device that is at least as large.
func (f *Fit) grow(disk image.Disk, table *gpt.Table, damage error, d *Device, o FitOptions) error {
	switch {
	case damage != nil && o.GrowGPT:
		return fmt.Errorf("%w, so it cannot be moved; leave out --grow-gpt", damage)
	case damage != nil:
		f.advise("%v; 'sgdisk -v %s' tells more", damage, d.Path)
	case table == nil:
		return f.growOld(disk, d, o)
	case table.IsAtEnd(d.Size):
	case suits(table, d) != nil && o.GrowGPT:
		return fmt.Errorf("%w; leave out --grow-gpt", suits(table, d))
	case suits(table, d) != nil:
	case !o.GrowGPT:
		f.advise("the second partition table is not at the end of the device, where it belongs: --grow-gpt puts it there, and so does 'sgdisk -e %s'", d.Path)
	default:
		if err := f.move(table, d); err != nil {
			return err
		}
		if p, ok := table.Last(); ok {
			f.adviseGrowth(disk, p.Off, p.Len, partitionNode(d.Name, p.Number), fmt.Sprintf("'parted %s resizepart %d 100%%'", d.Path, p.Number))
		}
	}
	return nil
}

// growOld is grow for a disk without a GUID partition table.
func (f *Fit) growOld(disk image.Disk, d *Device, o FitOptions) error {
	if o.GrowGPT {
		f.advise("the disk has no GUID partition table, so there is none to move")
	}
	_, ok, err := endOfMBR(disk, d.Identity.SectorSize)
	switch {
	case err != nil:
		return err
	case ok && f.Left > 0:
		f.advise("there is room behind the disk: its partition table (MBR) needs no change, and the last partition can be grown into it with parted")
		return nil
	}
	f.adviseGrowth(disk, 0, disk.Size(), "/dev/"+d.Name)
	return nil
}

func (f *Fit) move(table *gpt.Table, d *Device) (err error) {
	f.second, f.first, err = table.Moved(d.Size)
	return err
}
