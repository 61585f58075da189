package image

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// Sizes for repeating a failed read of about 1 MiB. On a failing disk every failed read costs time, often seconds. So
// the extent is cut into sixteen pieces, not two: one bad sector then costs five failed reads, not twelve.
const (
	largePiece = 64 << 10 // bytes
	smallPiece = 4 << 10
	// longRun is the length in bytes of a failed run after which Around stops trying sector by sector. A sector of a
	// medium is at most 4 KiB, so this is two sectors.
	longRun = 8 << 10
)

// An Around reads extents at which a Retrying disk failed, front to back, as far as they can be read. It is not safe
// for concurrent use.
//
// It reads an extent in pieces of 64 KiB, failed pieces in pieces of 4 KiB, and those in sectors. It retries the first
// failed sector once. After 8 KiB of failures in a row it jumps ahead to find the end of the run. The first jump is as
// long as the run, each next one twice as long, and the last goes to the end of the extent. From the first readable
// place it reads back to the last unreadable one. So a dead area costs two failed reads in each extent, and both its
// ends are exact to the sector. Bytes given up untried are between two places that failed.
type Around struct {
	disk  *Retrying
	read  func(p []byte, off int64) (int, error)
	sizes []int64 // of pieces; the last is the sector size

	ctx context.Context // of the current call
	bad []Extent        // of the current call
	run Extent          // the last unreadable run
	why error           // its error
}

// Around returns a reader for extents that failed. What it reads depends on the extents before. To get the same result
// from the same disk, start a new one at the same places.
func (d *Retrying) Around() *Around {
	a := &Around{disk: d, read: d.Disk.ReadAt, sizes: []int64{largePiece, smallPiece, 512}}
	if s, ok := As[Sectored](d.Disk); ok {
		a.read = s.ReadSectors
		if size := s.SectorSize(); size < smallPiece {
			a.sizes[2] = size
		} else {
			a.sizes = []int64{max(largePiece, size), size}
		}
	}
	if d.retry.Any {
		a.sizes = []int64{largePiece, smallPiece}
	}
	return a
}

// Read fills p with the readable bytes from off on, and the rest with zeros. It appends the unreadable extents to bad,
// in order. The error is ctx's, is not a media error, or wraps ErrUnresponsive or ErrDead. With Strict, any
// unreadable extent is an error.
func (a *Around) Read(ctx context.Context, p []byte, off int64, bad []Extent) ([]Extent, error) {
	a.ctx, a.bad = ctx, nil
	for done := int64(0); done < int64(len(p)); {
		read := a.pieces
		if a.runAt(off+done) >= longRun {
			read = a.jump
		}
		n, err := read(p[done:], off+done, a.sizes)
		if err != nil {
			return bad, err
		}
		done += n
	}
	if len(a.bad) == 1 && a.bad[0].Len == int64(len(p)) {
		if err := a.answers(); err != nil {
			return bad, err
		}
	}
	return append(bad, a.bad...), nil
}

// pieces reads an extent in pieces of sizes[0], and failed ones in smaller pieces. It returns the number of bytes done,
// which is less than all after a long run.
func (a *Around) pieces(p []byte, off int64, sizes []int64) (done int64, err error) {
	for done < int64(len(p)) && a.runAt(off+done) < longRun {
		at := off + done
		n := min(sizes[0]-at%sizes[0], int64(len(p))-done)
		q := p[done : done+n]
		err := a.try(q, at)
		switch {
		case err == nil:
		case !a.disk.CanReadAround(err):
			return done, err
		case len(sizes) > 1 && !a.disk.GaveUp():
			if n, err = a.pieces(q, at, sizes[1:]); err != nil {
				return done, err
			}
		case a.runAt(at) == 0 && a.try(q, at) == nil:
		default:
			if err := a.lose(q, at); err != nil {
				return done, err
			}
		}
		done += n
	}
	return done, nil
}

// jump finds the end of a long run that reaches up to off. It returns the number of bytes done.
func (a *Around) jump(p []byte, off int64, sizes []int64) (int64, error) {
	sector, end := sizes[len(sizes)-1], off+int64(len(p))
	failed := off // all before is given up
	for step := a.runAt(off); failed < end; step *= 2 {
		at := min(failed+step, end-1)
		at = max(at-at%sector, failed)
		next := min(at-at%sector+sector, end)
		err := a.try(p[at-off:next-off], at)
		if err == nil {
			from, err := a.back(p[failed-off:at-off], failed)
			if err != nil {
				return 0, err
			}
			return next - off, a.lose(p[:from-off], off)
		}
		if !a.disk.CanReadAround(err) {
			return 0, err
		}
		failed = next
	}
	return int64(len(p)), a.lose(p, off)
}

// back reads an extent from its end back to the first unreadable place, and returns the offset after that place.
func (a *Around) back(p []byte, off int64) (int64, error) {
	end := off + int64(len(p))
	size := max(a.sizes[len(a.sizes)-1], smallPiece)
	for end > off {
		at := max((end-1)/size*size, off)
		err := a.try(p[at-off:end-off], at)
		switch {
		case err == nil:
			end = at
		case !a.disk.CanReadAround(err):
			return 0, err
		case end-at <= a.sizes[len(a.sizes)-1]:
			return end, nil
		default: // from here on by sector
			size = a.sizes[len(a.sizes)-1]
		}
	}
	return off, nil
}

// runAt returns the length of the unreadable run that ends at off.
func (a *Around) runAt(off int64) int64 {
	if a.run.Off+a.run.Len != off || a.disk.retry.Any {
		return 0
	}
	return a.run.Len
}

// lose records an extent as unreadable.
func (a *Around) lose(p []byte, off int64) error {
	if len(p) == 0 {
		return nil
	}
	n := int64(len(p))
	if a.disk.retry.Strict {
		return fmt.Errorf("read at %d: %w", off, a.why)
	}
	clear(p)
	if a.runAt(off) == 0 {
		a.run = Extent{Off: off}
	}
	a.run.Len += n
	if last := len(a.bad) - 1; last >= 0 && a.bad[last].Off+a.bad[last].Len == off {
		a.bad[last].Len += n
	} else {
		a.bad = append(a.bad, Extent{Off: off, Len: n})
	}
	return nil
}

// try reads all of p, or returns an error.
func (a *Around) try(p []byte, off int64) error {
	if a.ctx.Err() != nil {
		return context.Cause(a.ctx)
	}
	start := a.disk.now()
	n, err := a.read(p, off)
	switch {
	case n == len(p):
		a.disk.good.Store(off)
		return nil
	case err == nil || errors.Is(err, io.EOF):
		err = fmt.Errorf("%w: it ends at %d now", ErrResized, off+int64(n))
	}
	a.why = err
	if a.disk.CanReadAround(err) {
		a.disk.failed.Store(true)
		a.disk.spent.Add(int64(a.disk.now().Sub(start)))
		return err
	}
	return fmt.Errorf("read at %d: %w", off, err)
}

// places is the number of places at which answers looks for a readable sector.
const places = 16

// Answers checks that the disk is still there, if a read has failed. An unplugged disk fails like a bad medium, and a
// snapshot of unreadable bytes only would be useless and hide that. The error wraps ErrUnresponsive, ErrDead or
// ErrResized, or is ctx's.
func (d *Retrying) Answers(ctx context.Context) error {
	if !d.failed.Load() {
		return nil
	}
	a := d.Around()
	a.ctx = ctx
	return a.answers()
}

func (a *Around) answers() error {
	if a.disk.retry.Any {
		return nil
	}
	if err := a.disk.Changed(); err != nil && !errors.Is(err, ErrModified) {
		return err
	}
	buf := make([]byte, largePiece)[:a.sizes[len(a.sizes)-1]] // allocated this large, it is aligned to a page
	good, size := a.disk.good.Load(), a.disk.Disk.Size()
	if good >= 0 && a.answersAt(buf, good) {
		return nil
	}
	for i := range int64(places) {
		if a.answersAt(buf, size/places*i) {
			return nil
		}
	}
	if a.ctx.Err() != nil {
		return context.Cause(a.ctx)
	}
	if good < 0 {
		return fmt.Errorf("%w: %w", ErrDead, a.why)
	}
	return fmt.Errorf("%w: %w", ErrUnresponsive, a.why)
}

// answersAt reports whether the sector at off is readable.
func (a *Around) answersAt(buf []byte, off int64) bool {
	off -= off % int64(len(buf))
	buf = buf[:min(int64(len(buf)), a.disk.Disk.Size()-off)]
	for range a.disk.Excluded(off, int64(len(buf))) {
		return false
	}
	return a.try(buf, off) == nil
}
