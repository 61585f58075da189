package image

import (
	"errors"
	"iter"
	"slices"
	"sync/atomic"
	"time"
)

var (
	// ErrUnresponsive says that a disk no longer answers, not even where it was readable before. It was unplugged, it
	// hangs, or its bus failed.
	ErrUnresponsive = errors.New("the disk no longer answers, not even where it was readable before: plug it in again, " +
		"or leave it without power for a while, and run this again")
	// ErrDead says that no place of a disk is readable.
	ErrDead = errors.New("no place of the disk can be read")
	// ErrExcluded says that a rescue map excludes a place from reading.
	ErrExcluded = errors.New("the rescue map says that it could not be read")
)

// IsMediaError reports whether an error is a media error: the medium is unreadable at this place and may be readable at
// others. A missing device, a file that became shorter and a forbidden read are not media errors.
func IsMediaError(err error) bool {
	return slices.ContainsFunc(mediumErrors[:], func(of error) bool { return errors.Is(err, of) })
}

// A Sectored disk can be read in sectors, the smallest units that fail independently.
type Sectored interface {
	// SectorSize returns the size of a sector in bytes. Sectors start at byte 0.
	SectorSize() int64
	// ReadSectors reads at a byte offset, and nothing beyond the request. That requires whole sectors, and memory
	// aligned to sectors relative to a multiple of Alignment.
	ReadSectors(p []byte, off int64) (int, error)
}

// A Retrying disk may have unreadable places. A reader first calls ReadAt. If that fails with an error that
// CanReadAround accepts, it continues with Around.
type Retrying struct {
	Disk
	known *RescueMap // excludes ranges; nil for none
	retry RetryOptions
	now   func() time.Time

	failed atomic.Bool  // a read failed
	good   atomic.Int64 // an offset that was readable; -1 for none
	spent  atomic.Int64 // nanoseconds spent on failed reads
}

// RetryOptions say how to treat a disk with media errors.
type RetryOptions struct {
	Strict bool // unreadable places are errors, but only after the retries
	// Any treats every error as a media error, and tries every block. It is for callers that use only the bytes they
	// can verify.
	Any bool
	// Longest limits the total time spent on failed reads; 0 for no limit. After that, a failure costs the 64 KiB
	// around it.
	Longest time.Duration
}

var (
	_ Disk           = (*Retrying)(nil)
	_ ChangeDetector = (*Retrying)(nil)
	_ Sequential     = (*Retrying)(nil)
	_ Cached         = (*Retrying)(nil)
	_ Sectored       = (*Retrying)(nil)
)

// NewRetrying returns a disk that reads around media errors, and never reads what known excludes; known may be nil. A
// disk may end before the map, such as an image whose last sectors could not be copied. It then has the size of the
// map. NewRetrying checks that the map excludes everything beyond the disk's end.
func NewRetrying(disk Disk, known *RescueMap, o RetryOptions) (*Retrying, error) {
	if err := known.fits(disk.Size()); err != nil {
		return nil, err
	}
	d := &Retrying{Disk: disk, known: known, retry: o, now: time.Now}
	d.good.Store(-1)
	return d, nil
}

// Unwrap returns the underlying disk; see As.
func (d *Retrying) Unwrap() Disk { return d.Disk }

// SectorSize returns the disk's sector size, or Alignment if the disk has none.
func (d *Retrying) SectorSize() int64 {
	if s, ok := As[Sectored](d.Disk); ok {
		return s.SectorSize()
	}
	return Alignment
}

// ReadSectors reads like ReadAt, but bypasses the system's cache if the disk can. The error wraps ErrExcluded in
// excluded ranges.
func (d *Retrying) ReadSectors(p []byte, off int64) (int, error) {
	if s, ok := As[Sectored](d.Disk); ok {
		return d.allowed(p, off, s.ReadSectors)
	}
	return d.ReadAt(p, off)
}

// Size returns the size in bytes.
func (d *Retrying) Size() int64 { return max(d.Disk.Size(), d.known.Size()) }

// ReadAt reads at a byte offset. The error wraps ErrExcluded in excluded ranges.
func (d *Retrying) ReadAt(p []byte, off int64) (int, error) {
	return d.allowed(p, off, d.readAt)
}

// allowed reads up to the first excluded range.
func (d *Retrying) allowed(p []byte, off int64, read func(p []byte, off int64) (int, error)) (int, error) {
	for lost := range d.known.Within(off, int64(len(p))) {
		n, err := read(p[:lost.Off-off], off)
		if err == nil {
			err = ErrExcluded
		}
		return n, err
	}
	return read(p, off)
}

func (d *Retrying) readAt(p []byte, off int64) (int, error) {
	n, err := d.Disk.ReadAt(p, off)
	if n > 0 {
		d.good.Store(off)
	}
	return n, err
}

// Excluded yields the excluded ranges within n bytes at off, in order.
func (d *Retrying) Excluded(off, n int64) iter.Seq[Extent] { return d.known.Within(off, n) }

// CanReadAround reports whether Around can continue after an error of ReadAt.
func (d *Retrying) CanReadAround(err error) bool { return d.retry.Any || IsMediaError(err) }

// Strict reports whether unreadable places are errors.
func (d *Retrying) Strict() bool { return d.retry.Strict }

// Extents yields the disk in order. Excluded ranges count as data: they may have held data, even if an image has a hole
// there. After a media error, all the rest counts as data.
func (d *Retrying) Extents() iter.Seq2[Extent, error] {
	return Joined(func(yield func(Extent, error) bool) {
		at, end := int64(0), d.Size()
		for e, err := range d.Disk.Extents() {
			switch {
			case err != nil && d.CanReadAround(err):
				yield(Extent{Off: at, Len: end - at}, nil)
				return
			case err != nil:
				yield(Extent{}, err)
				return
			}
			for lost := range d.known.Within(e.Off, e.Len) {
				if !yield(Extent{Off: at, Len: lost.Off - at, Zero: e.Zero}, nil) || !yield(lost, nil) {
					return
				}
				at = lost.Off + lost.Len
			}
			if !yield(Extent{Off: at, Len: e.Off + e.Len - at, Zero: e.Zero}, nil) {
				return
			}
			at = e.Off + e.Len
		}
		yield(Extent{Off: at, Len: end - at}, nil)
	})
}

// Changed calls the disk's Changed, if it has one.
func (d *Retrying) Changed() error {
	if detector, ok := As[ChangeDetector](d.Disk); ok {
		return detector.Changed()
	}
	return nil
}

// ReadSequentially calls the disk's ReadSequentially, if it has one.
func (d *Retrying) ReadSequentially() {
	if seq, ok := As[Sequential](d.Disk); ok {
		seq.ReadSequentially()
	}
}

// Cached calls the disk's Cached, if it has one.
func (d *Retrying) Cached(off, n int64) bool {
	cached, ok := As[Cached](d.Disk)
	return ok && cached.Cached(off, n)
}

// GaveUp reports whether Longest is spent, so some places are no longer tried.
func (d *Retrying) GaveUp() bool {
	return d.retry.Longest > 0 && d.spent.Load() >= int64(d.retry.Longest)
}
