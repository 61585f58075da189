package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
)

// A Section is a part of a disk, such as a partition, as a disk of its own.
type Section struct {
	disk     Disk
	off, len int64 // bytes
}

var (
	_ Disk          = (*Section)(nil)
	_ ContextReader = (*Section)(nil)
	_ RangeReader   = (*Section)(nil)
)

// NewSection returns the n bytes of a disk at off. It has no Unwrap, since its offsets are its own.
func NewSection(d Disk, off, n int64) (*Section, error) {
	if off < 0 || n < 0 || n > d.Size()-off {
		return nil, fmt.Errorf("%d bytes at %d are not on the disk, which has %d", n, off, d.Size())
	}
	return &Section{d, off, n}, nil
}

// Size returns the length of the part in bytes.
func (s *Section) Size() int64 { return s.len }

// ReadAt reads from the part; past its end it returns io.EOF.
func (s *Section) ReadAt(p []byte, off int64) (int, error) { return s.read(s.disk.ReadAt, p, off) }

// ReadAtContext is ReadAt under ctx.
func (s *Section) ReadAtContext(ctx context.Context, p []byte, off int64) (int, error) {
	return s.read(func(p []byte, off int64) (int, error) { return ReadAt(ctx, s.disk, p, off) }, p, off)
}

func (s *Section) read(from func([]byte, int64) (int, error), p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errors.New("read a part of a disk: negative offset")
	}
	want := len(p)
	p = p[:min(int64(want), max(s.len-off, 0))]
	if len(p) == 0 && want > 0 {
		return 0, io.EOF
	}
	n, err := from(p, s.off+off)
	if n == len(p) {
		if err = nil; n < want {
			err = io.EOF
		}
	}
	return n, err
}

// Extents yields the part.
func (s *Section) Extents() iter.Seq2[Extent, error] {
	return s.ExtentsIn(context.Background(), 0, s.len)
}

// ExtentsIn yields a range of the part.
func (s *Section) ExtentsIn(ctx context.Context, off, n int64) iter.Seq2[Extent, error] {
	return func(yield func(Extent, error) bool) {
		for e, err := range ExtentsIn(ctx, s.disk, s.off+off, n) {
			e.Off -= s.off
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// A WritableSection is a part of a disk that can be changed.
type WritableSection struct {
	*Section
	to Writable
}

var _ Writable = (*WritableSection)(nil)

// NewWritableSection returns the n bytes of a disk at off. Writes to it change the disk.
func NewWritableSection(d Writable, off, n int64) (*WritableSection, error) {
	s, err := NewSection(d, off, n)
	if err != nil {
		return nil, err
	}
	return &WritableSection{s, d}, nil
}

// WriteAt writes to the part. It writes nothing if p reaches beyond the part's end.
func (s *WritableSection) WriteAt(p []byte, off int64) (int, error) {
	if err := s.holds(off, int64(len(p))); err != nil {
		return 0, err
	}
	return s.to.WriteAt(p, s.off+off)
}

// Zero zeroes a range of the part.
func (s *WritableSection) Zero(off, n int64) error {
	if err := s.holds(off, n); err != nil {
		return err
	}
	return s.to.Zero(s.off+off, n)
}

// Sync syncs the whole disk.
func (s *WritableSection) Sync() error { return s.to.Sync() }

func (s *WritableSection) holds(off, n int64) error {
	if off < 0 || n < 0 || n > s.len-off {
		return fmt.Errorf("%d bytes at %d are not in a part of %d bytes", n, off, s.len)
	}
	return nil
}
