package overlay

import (
	"context"
	"errors"
	"fmt"
	"io"

	"platter/snapshot/image"
)

// A readFunc reads the base, as io.ReaderAt's ReadAt does.
type readFunc func(p []byte, off int64) (int, error)

// ReadAt reads at a byte offset; past the end it returns io.EOF. An error of the base is an error of the blocks that were
// not written.
func (d *Disk) ReadAt(p []byte, off int64) (int, error) { return d.read(d.base.ReadAt, p, off) }

// ReadAtContext is ReadAt under ctx.
func (d *Disk) ReadAtContext(ctx context.Context, p []byte, off int64) (int, error) {
	return d.read(func(p []byte, off int64) (int, error) { return image.ReadAt(ctx, d.base, p, off) }, p, off)
}

func (d *Disk) read(base readFunc, p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, errors.New("read an overlay: negative offset")
	}
	whole := int64(len(p)) <= d.size-off
	if !whole {
		p = p[:max(d.size-off, 0)]
	}
	for n < len(p) && err == nil {
		var got int
		got, err = d.readRun(base, p[n:], off+int64(n))
		n += got
	}
	if err == nil && !whole {
		err = io.EOF
	}
	return n, err
}

// readRun reads up to the end of p, or of the blocks that are in the same place as the first one.
func (d *Disk) readRun(base readFunc, p []byte, off int64) (int, error) {
	d.reading.RLock()
	r, written := d.at(off/unit, blocksOf(off+int64(len(p))))
	p = p[:min(int64(len(p)), r.end()*unit-off)]
	if written {
		defer d.reading.RUnlock()
		return d.readWritten(p, off, r)
	}
	d.reading.RUnlock() // the base may be slow, and has no units
	n, err := base(p, off)
	return ended(n, len(p), err)
}

// readWritten reads blocks of the overlay.
func (d *Disk) readWritten(p []byte, off int64, r run) (int, error) {
	if r.unit == 0 {
		clear(p)
		return len(p), nil
	}
	n, err := d.file.ReadAt(p, r.offset(off))
	if n, err = ended(n, len(p), err); err != nil {
		err = fmt.Errorf("read the overlay: %w", err)
	}
	return n, err
}

// ended returns the result of a read within a disk's size, where there is no end.
func ended(n, want int, err error) (int, error) {
	switch {
	case n == want:
		return n, nil
	case err == nil || err == io.EOF:
		return n, io.ErrUnexpectedEOF
	}
	return n, err
}

// at returns the blocks from one on, before another, that are in the same place as the first of them: in the overlay in
// a row, or in the base.
func (d *Disk) at(block, before int64) (r run, written bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	next, ok := d.blocks.after(block)
	switch {
	case !ok || next.at >= before:
		return run{at: block, n: before - block}, false
	case next.at > block:
		return run{at: block, n: next.at - block}, false
	}
	return next.clip(block, before), true
}

// offset returns where in the file a byte of the disk is, which the run has.
func (r run) offset(off int64) int64 { return r.unit*unit + off - r.at*unit }
