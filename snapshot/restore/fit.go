package restore

import (
	"context"
	"fmt"

	"platter/snapshot"
	"platter/snapshot/image"
	"platter/snapshot/image/anatomy"
	"platter/snapshot/image/gpt"
)

// FitOptions say how to fit a disk onto a device of another size.
type FitOptions struct {
	GrowGPT   bool // move the second partition table to the end of a larger device
	ShrinkGPT bool // leave out what no partition holds and a smaller device has no room for
}

// A Fit says how to write a part of a snapshot's disk onto a device.
type Fit struct {
	Part     snapshot.Part // the part to write: smaller than requested if the device is smaller
	Left     int64         // bytes of the device behind the part
	Warnings []string      // hazards to show before anything is written: sentences without a full stop
	Advice   []string      // notes, and steps for afterwards: the same

	second, first []gpt.Write // partition table writes to do last; see gpt.Table.Moved
}

// Moves reports whether a partition table moves.
func (f *Fit) Moves() bool { return len(f.first) > 0 }

func (f *Fit) advise(format string, args ...any) {
	f.Advice = append(f.Advice, fmt.Sprintf(format, args...))
}

func (f *Fit) warn(format string, args ...any) {
	f.Warnings = append(f.Warnings, fmt.Sprintf(format, args...))
}

// FitOnto works out how to write a part of the snapshot's disk onto a device. The error says why it does not fit.
func FitOnto(ctx context.Context, r snapshot.Frames, s *snapshot.Snapshot, part snapshot.Part, d *Device, o FitOptions) (*Fit, error) {
	fit, err := fitOnto(ctx, r, s, part, d, o)
	if err != nil {
		return nil, fmt.Errorf("restore to %s: %w", d.Path, err)
	}
	return fit, nil
}

func fitOnto(ctx context.Context, r snapshot.Frames, s *snapshot.Snapshot, part snapshot.Part, d *Device, o FitOptions) (*Fit, error) {
	disk, err := s.Open(ctx, r)
	if err != nil {
		return nil, err
	}
	fit := &Fit{Part: part, Left: max(0, d.Size-part.Len)}
	if part.Off != 0 || part.Len != s.Size {
		return fit, fit.place(disk, d)
	}
	t, err := readTables(ctx, disk, s.Source.TableSector())
	if err != nil {
		return nil, err
	}
	if unsuited := t.suits(d); unsuited != nil {
		fit.warn("%v", unsuited)
	} else if t.look.Table == "" {
		fit.warnOfUnit(disk, 0, disk.Size(), d)
	}
	if s.Size > d.Size {
		return fit, fit.shrink(t, d, o)
	}
	return fit, fit.grow(t, d, o)
}

// place fits a part of a disk onto a device.
func (f *Fit) place(disk image.Disk, d *Device) error {
	if f.Part.Len > d.Size {
		return tooSmall(d.Size, f.Part.Len)
	}
	f.warnOfUnit(disk, f.Part.Off, f.Part.Len, d)
	f.adviseGrowth(disk, f.Part.Off, f.Part.Len, "/dev/"+d.Name)
	return nil
}

// shrink fits a disk onto a smaller device.
func (f *Fit) shrink(t *tables, d *Device, o FitOptions) error {
	least := t.smallest()
	switch {
	case t.damage != nil:
		return fmt.Errorf("%w; %w, so what could be left out is not known", tooSmall(d.Size, least), t.damage)
	case d.Size < least:
		return tooSmall(d.Size, least)
	case !o.ShrinkGPT:
		return fmt.Errorf("it is smaller than the disk: it has %d bytes where that has %d; no partition holds anything after its end, "+
			"so --shrink-gpt would leave that out", d.Size, t.disk.Size())
	}
	f.Part.Len = d.Size
	if t.gpt == nil {
		return nil // an MBR does not record where the disk ends
	}
	if err := t.suits(d); err != nil {
		return fmt.Errorf("it is smaller than the disk, and %w", err)
	}
	return f.move(t.gpt, d)
}

// grow fits a disk onto a device that is at least as large.
func (f *Fit) grow(t *tables, d *Device, o FitOptions) error {
	table := t.gpt
	switch {
	case t.damage != nil && o.GrowGPT:
		return fmt.Errorf("%w, so it cannot be moved; leave out --grow-gpt", t.damage)
	case t.damage != nil:
		f.advise("%v; 'sgdisk -v %s' tells more", t.damage, d.Path)
	case table == nil:
		f.growOld(t, d, o)
	case table.IsAtEnd(d.Size):
	case t.suits(d) != nil && o.GrowGPT:
		return fmt.Errorf("%w; leave out --grow-gpt", t.suits(d))
	case t.suits(d) != nil:
	case !o.GrowGPT:
		f.advise("the second partition table is not at the end of the device, where it belongs: --grow-gpt puts it there, and so does 'sgdisk -e %s'", d.Path)
	default:
		if err := f.move(table, d); err != nil {
			return err
		}
		if p, ok := table.Last(); ok {
			f.adviseGrowth(t.disk, p.Off, p.Len, partitionNode(d.Name, p.Number), fmt.Sprintf("'parted %s resizepart %d 100%%'", d.Path, p.Number))
		}
	}
	return nil
}

// growOld is grow for a disk without a GUID partition table in use.
func (f *Fit) growOld(t *tables, d *Device, o FitOptions) {
	switch {
	case t.unused && o.GrowGPT:
		f.advise("the disk's GUID partition table is out of use, since its first sector does not name it, so it was left as it is")
	case o.GrowGPT:
		f.advise("the disk has no GUID partition table, so there is none to move")
	case t.look.Table == anatomy.GPT:
		f.advise("systems will not find the disk's partitions: its GUID partition table is out of use, since its first sector does not name it")
	}
	switch {
	case t.look.Table == "":
		f.adviseGrowth(t.disk, 0, t.disk.Size(), "/dev/"+d.Name)
	case t.look.Table == anatomy.MBR && f.Left > 0 && t.suits(d) == nil:
		f.advise("there is room after the disk: its partition table (MBR) needs no change, and the last partition can be grown into it with parted")
	}
}

func (f *Fit) move(table *gpt.Table, d *Device) (err error) {
	f.second, f.first, err = table.Moved(d.Size)
	return err
}
