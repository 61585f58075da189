package snapshot

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"platter/snapshot/image"
	"platter/snapshot/image/anatomy"
)

// ReadPart is FindPart for callers that are about to read the part. It uses the partitions that the bytes of the
// snapshot's disk describe. The record in the snapshot may differ: an older program made it, or the partitions changed
// during the backup. Then Named.Warning says so. If those bytes cannot be read, or parts of the disk are lost, ReadPart
// uses the record.
func ReadPart(ctx context.Context, r Frames, snapshots []*Snapshot, spec string, now time.Time) (f Named, err error) {
	of, _, _ := cutPart(spec)
	if f.Snapshot, f.Passed, err = Find(snapshots, of, now); err == nil {
		f.Part, f.Warning, err = f.Snapshot.readPart(ctx, r, spec)
	}
	return f, err
}

func (s *Snapshot) readPart(ctx context.Context, r Frames, spec string) (part Part, warning string, err error) {
	_, name, ok := cutPart(spec)
	if !ok || s.Unreadable > 0 && s.Anatomy != nil {
		part, err = s.part(ctx, r, spec)
		return part, "", err
	}
	disk, err := s.Open(ctx, r)
	if err != nil {
		return Part{}, "", err
	}
	heard := &hearing{Disk: disk}
	d := anatomy.Read(heard, s.Source.TableSector())
	if err := ctx.Err(); err != nil {
		return Part{}, "", err
	}
	if heard.failed.Load() {
		part, err = s.part(ctx, r, spec)
		return part, "", err
	}
	p, err := s.partitionIn(d, name)
	if err == nil && d.Doubtful && p.Content == nil {
		err = errDoubtful
	}
	if err != nil {
		return Part{}, "", fmt.Errorf("%q: %w", spec, err)
	}
	return Part{p.Off, p.Len, PartName(p.Number)}, s.otherThan(p), nil
}

var errDoubtful = errors.New("the sector size of its partition table (MBR) is unknown, because nothing on the disk shows it, so the partition's position is unknown, " +
	"too; restore the whole disk, and attach it to a device with sectors of the right size (losetup --sector-size)")

// otherThan describes how the record of a partition differs from what its disk says; "" if it does not, or there is no
// record.
func (s *Snapshot) otherThan(p *anatomy.Partition) string {
	if s.Anatomy == nil {
		return ""
	}
	now := fmt.Sprintf("%s is %d bytes from byte %d on", PartName(p.Number), p.Len, p.Off)
	switch was := s.Anatomy.Part(p.Number); {
	case was == nil:
		return fmt.Sprintf("the disk's own partition table says that %s, but the version's record has no such partition; the disk's table is used", now)
	case was.Off != p.Off || was.Len != p.Len:
		return fmt.Sprintf("the disk's own partition table says that %s, but the version's record says %d bytes from byte %d on; the disk's table is used", now, was.Len, was.Off)
	}
	return ""
}

// A hearing disk remembers whether a read failed.
type hearing struct {
	image.Disk
	failed atomic.Bool
}

// Unwrap returns the disk; see image.As.
func (h *hearing) Unwrap() image.Disk { return h.Disk }

func (h *hearing) ReadAt(p []byte, off int64) (int, error) {
	n, err := h.Disk.ReadAt(p, off)
	if n < len(p) {
		h.failed.Store(true)
	}
	return n, err
}
