package image

import (
	"errors"
	"iter"
	"slices"
	"sync/atomic"
	"time"
)

var (
	// ErrGone says that a disk does not answer any more, not even where it could be read before: it was unplugged, it
	// hangs, or what it lies on is gone.
	ErrGone = errors.New("the disk does not answer any more, not even where it could be read before: plug it in again, " +
		"or let it rest without power, and start again")
	// ErrDead says that a disk could be read nowhere.
	ErrDead = errors.New("no place of the disk can be read")
	// ErrExcluded says that a rescue map forbids to read a place.
	ErrExcluded = errors.New("the rescue map says that it could not be read")
)

// IsMediaError reports whether an error is a media error: the medium cannot be read at some place, and others may be readable.
// A missing device, a file that became shorter and a read that was not allowed are no media errors.
func IsMediaError(err error) bool {
	return slices.ContainsFunc(mediumErrors[:], func(of error) bool { return errors.Is(err, of) })
}

// A Sectored disk can be read in the shortest units that fail on their own.
type Sectored interface {
	// SectorSize is how long those are, in bytes. They are counted from byte 0.
	SectorSize() int64
	// ReadSectors reads at a byte offset, and nothing beside what it was asked for. That needs whole sectors, and memory
	// aligned like them, counted from a multiple of Alignment.
	ReadSectors(p []byte, off int64) (int, error)
}

// A Retrying disk may fail in places. A reader tries ReadAt, and goes on with Around where that fails by an error that
// CanReadAround accepts.
type Retrying struct {
	Disk
	known *RescueMap // what is not to be read; nil for nothing
	retry RetryOptions
	now   func() time.Time

	failed atomic.Bool  // something could not be read
	good   atomic.Int64 // a byte that could be read
	spent  atomic.Int64 // nanoseconds waited for what cannot be read
}

// RetryOptions says how to treat a disk that fails.
type RetryOptions struct {
	Strict bool // what cannot be read is an error after all, but one that was made sure of
	// Any takes any error for one of the medium, and tries every block: it is for who looks for what can be proved on a disk,
	// and takes nothing else from it.
	Any bool
	// Longest is how long to wait, all in all, for what cannot be read at once; 0 for as long as it takes. After that a
	// place that fails costs the 64 KiB around it.
	Longest time.Duration
}

var (
	_ Disk           = (*Retrying)(nil)
	_ ChangeDetector = (*Retrying)(nil)
	_ Sequential     = (*Retrying)(nil)
	_ Cached         = (*Retrying)(nil)
	_ Sectored       = (*Retrying)(nil)
)

// NewRetrying returns a disk that is read as far as it can be, and nowhere that known, which may be nil, says it cannot be.
// A disk that ends before the map does, as an image whose last sectors could not be copied, is as long as the map; that
// all beyond its end is unreadable must hold, and is checked.
func NewRetrying(disk Disk, known *RescueMap, o RetryOptions) (*Retrying, error) {
	if err := known.fits(disk.Size()); err != nil {
		return nil, err
	}
	d := &Retrying{Disk: disk, known: known, retry: o, now: time.Now}
	d.good.Store(-1)
	return d, nil
}

// Unwrap returns the disk that is read; see As.
func (d *Retrying) Unwrap() Disk { return d.Disk }

// SectorSize is that of the disk; Alignment where it has none.
func (d *Retrying) SectorSize() int64 {
	if s, ok := As[Sectored](d.Disk); ok {
		return s.SectorSize()
	}
	return Alignment
}

// ReadSectors reads as ReadAt does, past the system's cache where the disk can. The error wraps ErrExcluded at what the rescue
// map says cannot be read.
func (d *Retrying) ReadSectors(p []byte, off int64) (int, error) {
	if s, ok := As[Sectored](d.Disk); ok {
		return d.allowed(p, off, s.ReadSectors)
	}
	return d.ReadAt(p, off)
}

// Size returns the size in bytes.
func (d *Retrying) Size() int64 { return max(d.Disk.Size(), d.known.Size()) }

// ReadAt reads at a byte offset. The error wraps ErrExcluded at what the rescue map says cannot be read.
func (d *Retrying) ReadAt(p []byte, off int64) (int, error) {
	return d.allowed(p, off, d.readAt)
}

// allowed reads up to where the rescue map forbids it.
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

// Excluded yields what must not be read of n bytes from off on, in order.
func (d *Retrying) Excluded(off, n int64) iter.Seq[Extent] { return d.known.Within(off, n) }

// CanReadAround reports whether Around can go on after an error of ReadAt.
func (d *Retrying) CanReadAround(err error) bool { return d.retry.Any || IsMediaError(err) }

// Strict reports whether what cannot be read is an error.
func (d *Retrying) Strict() bool { return d.retry.Strict }

// Extents yields the disk in order. What is not to be read counts as data: it may have been, also where an image has a
// hole. So does all from where the medium does not tell what is data on.
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

// Changed asks the disk, if it can tell.
func (d *Retrying) Changed() error {
	if detector, ok := As[ChangeDetector](d.Disk); ok {
		return detector.Changed()
	}
	return nil
}

// ReadSequentially readies the disk, if it can be.
func (d *Retrying) ReadSequentially() {
	if seq, ok := As[Sequential](d.Disk); ok {
		seq.ReadSequentially()
	}
}

// Cached asks the disk, if it can tell.
func (d *Retrying) Cached(off, n int64) bool {
	cached, ok := As[Cached](d.Disk)
	return ok && cached.Cached(off, n)
}

// GaveUp reports whether so much time was waited that not all was tried.
func (d *Retrying) GaveUp() bool {
	return d.retry.Longest > 0 && d.spent.Load() >= int64(d.retry.Longest)
}
