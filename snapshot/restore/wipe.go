package restore

import (
	"context"
	"errors"

	"platter/chunk"
)

// wipe zeroes a target from byte off on.
func wipe(ctx context.Context, t target, off int64, verify bool, done *Result) error {
	size := t.Size()
	r := &windowReader{from: t}
	for at := off; at < size; at += windowSize {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		n, err := clearRun(t, r, at, min(size, at+windowSize))
		done.Zeroed.Add(n)
		if err != nil {
			return err
		}
	}
	if err := t.Sync(); err != nil {
		return err
	}
	r.data = nil
	for at := off; verify && at < size; at += windowSize {
		n := min(windowSize, size-at)
		data, err := r.view(at, n, at+n)
		if err != nil || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		if !chunk.IsZero(data) {
			return &MismatchError{at, n}
		}
	}
	return nil
}

// clearRun makes a run zero where it is not, and returns how many bytes it zeroed.
func clearRun(t target, r *windowReader, off, end int64) (zeroed int64, err error) {
	for off < end {
		step := min(windowSize, end-off)
		data, err := r.view(off, step, end)
		if err != nil { // unreadable bytes may be anything
			if err := t.Zero(off, step); err != nil {
				return zeroed, err
			}
			off, zeroed = off+step, zeroed+step
			continue
		}
		next := off + int64(len(data))
		for len(data) > 0 {
			skip := chunk.ZeroPrefix(data)
			if skip < len(data) {
				skip &^= chunk.Block - 1
			}
			data, off = data[skip:], off+int64(skip)
			n := dataBlocks(data)
			if n > 0 {
				if err := t.Zero(off, int64(n)); err != nil {
					return zeroed, err
				}
			}
			data, off, zeroed = data[n:], off+int64(n), zeroed+int64(n)
		}
		off = next
	}
	return zeroed, nil
}
