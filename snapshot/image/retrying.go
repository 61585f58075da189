package image

import (
	"errors"
	"iter"
	"slices"
	"sync/atomic"
	"time"
)

var (
	// ErrGone: the disk fails even where it could be read before. It was unplugged, it hangs, or its own medium is missing.
	ErrGone = errors.New("the disk does not answer any more, not even where it could be read before: plug it in again, " +
		"or let it rest without power, and start again")
	// ErrDead: no part of the disk could be read.
	ErrDead = errors.New("no place of the disk can be read")
	// ErrExcluded: the rescue map excludes the range from reading.
	ErrExcluded = errors.New("the rescue map says that it could not be read")
)

// IsMediaError reports whether err means that a medium cannot read one range, while others may be readable. A device that
// was removed, a file that became shorter and a missing permission are no media errors.
func IsMediaError(err error) bool {
	return slices.ContainsFunc(mediumErrors[:], func(of error) bool { return errors.Is(err, of) })
}

// A Sectored disk can be read sector by sector: the shortest ranges that fail on their own.
type Sectored interface {
	// SectorSize is the length of a sector in bytes. Sectors start at byte 0.
	SectorSize() int64
	// ReadSectors reads at a byte offset, and never more than it was asked for. It needs whole sectors, and memory at the
	// same offset from a multiple of Alignment.
	ReadSectors(p []byte, off int64) (int, error)
}

// A Retrying disk may have media errors. A reader calls ReadAt first; where that fails with a media error, Around reads
// what it can of the range.
type Retrying struct {
	Disk
	known *RescueMap // ranges not to read; nil for none
	retry RetryOptions
	now   func() time.Time

	failed atomic.Bool  // a range could not be read
	good   atomic.Int64 // the offset of a byte that could be read
	spent  atomic.Int64 // nanoseconds spent on ranges that cannot be read
}

// RetryOptions say how to read a disk that has media errors.
type RetryOptions struct {
	Strict bool // a range that stays unreadable after all retries is an error
	// Any takes every error for a media error, and tries every block. It suits a search for chunks, since each one found is
	// verified.
	Any bool
	// Longest bounds the total time spent on ranges that fail; 0 for no bound. After that a failure gives up the 64 KiB
	// around it.
	Longest time.Duration
}

var _ Disk = (*Retrying)(nil)

// NewRetrying returns disk with media errors read around. Ranges that known, which may be nil, marks unreadable are not read.
// A disk that ends before the map does, such as an image whose last sectors could not be copied, gets the map's length;
// the map must mark everything beyond the disk's end unreadable, or it is an error.
func NewRetrying(disk Disk, known *RescueMap, o RetryOptions) (*Retrying, error) {
	if err := known.fits(disk.Size()); err != nil {
		return nil, err
	}
	d := &Retrying{Disk: disk, known: known, retry: o, now: time.Now}
	d.good.Store(-1)
	return d, nil
}

// Size returns the size in bytes.
func (d *Retrying) Size() int64 { return max(d.Disk.Size(), d.known.Size()) }

// ReadAt reads at a byte offset. The error wraps ErrExcluded at what the rescue map says cannot be read.
func (d *Retrying) ReadAt(p []byte, off int64) (int, error) {
	for lost := range d.known.Within(off, int64(len(p))) {
		n, err := d.readAt(p[:lost.Off-off], off)
		if err == nil {
			err = ErrExcluded
		}
		return n, err
	}
	return d.readAt(p, off)
}

func (d *Retrying) readAt(p []byte, off int64) (int, error) {
	n, err := d.Disk.ReadAt(p, off)
	if n > 0 {
		d.good.Store(off)
	}
	return n, err
}

// Excluded yields the parts of a range that are not to be read, in order.
func (d *Retrying) Excluded(off, n int64) iter.Seq[Extent] { return d.known.Within(off, n) }

// CanReadAround reports whether Around can continue after an error of ReadAt.
func (d *Retrying) CanReadAround(err error) bool { return d.retry.Any || IsMediaError(err) }

// Strict reports whether an unreadable range is an error.
func (d *Retrying) Strict() bool { return d.retry.Strict }

// Extents yields the disk in order. An excluded range counts as data, even in a hole of the image: the disk may have had data
// there. So does everything behind the first extent that the medium cannot report.
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

// Unwrap returns the disk that may fail.
func (d *Retrying) Unwrap() Disk { return d.Disk }

// GaveUp reports whether the time limit was reached, so that not everything was tried.
func (d *Retrying) GaveUp() bool {
	return d.retry.Longest > 0 && d.spent.Load() >= int64(d.retry.Longest)
}
