package snapshot

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"platter/snapshot/diskmap"
	"platter/snapshot/image/anatomy"
)

// A Part is a run of a disk and its name: p3 for the third partition. The whole disk has no name.
type Part struct {
	Off, Len int64 // bytes
	Name     string
}

// Whole returns the part that is the whole disk of the snapshot.
func (s *Snapshot) Whole() Part { return Part{Len: s.Size} }

// ReadAnatomy returns what the disk says about itself. That is what the backup found; for a version older than that
// record, it is read from the snapshot's disk now. Reading needs the index.
func (s *Snapshot) ReadAnatomy(ctx context.Context, r Frames) (*anatomy.Disk, error) {
	if s.Anatomy != nil {
		return s.Anatomy, nil
	}
	disk, err := s.Open(ctx, r)
	if err != nil {
		return nil, err
	}
	return anatomy.Read(disk, s.Source.TableSector()), ctx.Err()
}

// FindPart finds what spec names: a snapshot, as Find does, and after a colon a part of its disk. p3 is partition 3;
// LABEL=root or UUID=… is the partition with a file system of that label or UUID. No name of a disk has a colon.
// Without one, the part is the whole disk. FindPart reads disk data only for versions that have no record of
// partitions.
func FindPart(ctx context.Context, r Frames, snapshots []*Snapshot, spec string, now time.Time) (f Named, err error) {
	of, _, _ := cutPart(spec)
	if f.Snapshot, f.Passed, err = Find(snapshots, of, now); err == nil {
		f.Part, err = f.Snapshot.part(ctx, r, spec)
	}
	return f, err
}

// Named is what the name of a snapshot, or of a part of its disk, refers to.
type Named struct {
	Snapshot *Snapshot
	Part     Part
	Passed   []*Snapshot // versions from the future that were skipped; also set if there is an error
	Warning  string      // for the user; "" if there is none
}

// part finds the part of the snapshot's disk that spec names.
func (s *Snapshot) part(ctx context.Context, r Frames, spec string) (Part, error) {
	_, name, ok := cutPart(spec)
	if !ok {
		return s.Whole(), nil
	}
	d, err := s.ReadAnatomy(ctx, r)
	if err != nil {
		return Part{}, err
	}
	p, err := s.partitionIn(d, name)
	if err != nil {
		return Part{}, fmt.Errorf("%q: %w", spec, err)
	}
	return Part{p.Off, p.Len, PartName(p.Number)}, nil
}

// partitionIn returns the partition that a name means. It must lie within the snapshot's disk.
func (s *Snapshot) partitionIn(d *anatomy.Disk, name string) (*anatomy.Partition, error) {
	p, err := findPartition(d, name)
	if err == nil && (p.Off < 0 || p.Len <= 0 || p.Off > s.Size || p.Len > s.Size-p.Off) {
		err = fmt.Errorf("the partition, %d bytes from byte %d on, reaches beyond the end of the disk, which is %d bytes long", p.Len, p.Off, s.Size)
	}
	return p, err
}

// cutPart splits spec into the name of a snapshot and, after a colon, a part of its disk.
func cutPart(spec string) (of, name string, ok bool) { return strings.Cut(spec, ":") }

// PartName returns the name of a partition.
func PartName(number int) string { return "p" + strconv.Itoa(number) }

// findPartition returns the partition that a name means.
func findPartition(d *anatomy.Disk, name string) (*anatomy.Partition, error) {
	var match func(*anatomy.Partition) bool
	key, value, tagged := strings.Cut(name, "=")
	digits, numbered := strings.CutPrefix(name, "p")
	number, err := strconv.ParseUint(digits, 10, 31)
	switch {
	case tagged && value != "" && key == "LABEL":
		match = func(p *anatomy.Partition) bool { return p.Content != nil && p.Content.Label == value }
	case tagged && value != "" && key == "UUID":
		match = func(p *anatomy.Partition) bool { return p.Content != nil && strings.EqualFold(p.Content.UUID, value) }
	case numbered && err == nil:
		match = func(p *anatomy.Partition) bool { return p.Number == int(number) }
	default:
		return nil, fmt.Errorf("behind a colon belongs a partition, such as p1, LABEL=… or UUID=…; %s", partitionsOf(d))
	}
	var found *anatomy.Partition
	for i := range d.Partitions {
		p := &d.Partitions[i]
		if !match(p) {
			continue
		}
		if found != nil {
			return nil, fmt.Errorf("%w: %s and %s; name one of them", ErrAmbiguousPart, PartName(found.Number), PartName(p.Number))
		}
		found = p
	}
	if found == nil {
		return nil, fmt.Errorf("%w; %s", ErrNoPart, partitionsOf(d))
	}
	return found, nil
}

// partitionsOf lists the partitions that a name could mean.
func partitionsOf(d *anatomy.Disk) string {
	if len(d.Partitions) == 0 {
		text := "the disk has no partitions"
		if len(d.Notes) > 0 {
			text += " (" + d.Notes[0] + ")"
		}
		return text
	}
	var list []string
	for _, p := range d.Partitions {
		text := PartName(p.Number)
		if c := p.Content; c != nil {
			text += " (" + strings.TrimSpace(c.Type+" "+c.Label) + ")"
		}
		list = append(list, text)
	}
	const most = 20
	if len(list) > most {
		list = append(list[:most], "…")
	}
	return "the disk has " + strings.Join(list, ", ")
}

// End is the offset of the first byte after the part.
func (p Part) End() int64 { return p.Off + p.Len }

// MapOf returns the map of a part of the snapshot's disk. Offsets still count from the start of the disk.
func (s *Snapshot) MapOf(load diskmap.Loader, p Part) (*diskmap.Map, error) {
	return s.Map(load).Clip(diskmap.Range{Off: p.Off, Len: p.Len})
}
