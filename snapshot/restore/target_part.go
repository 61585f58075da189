package restore

import (
	"context"
	"fmt"
	"io"
	"iter"

	"platter/snapshot/diskmap"
	"platter/snapshot/image"
)

// A partTarget holds a part of a disk and uses the whole disk's offsets, so other code need not know about the part. A
// chunk that crosses an end of the part reads in full: the bytes beyond come from the snapshot. So its ID verifies it
// like any other. Writes beyond the part are dropped.
type partTarget struct {
	target
	from, to int64 // the part, bytes
	edges    []diskmap.Edge
}

var _ target = (*partTarget)(nil)

// seat returns t as the target of the map's part.
func (m *content) seat(ctx context.Context, t target) (*partTarget, error) {
	from, to := m.Within()
	if t.Size() < to-from {
		return nil, tooSmall(t.Size(), to-from)
	}
	edges, err := m.Edges(ctx)
	if err != nil {
		return nil, err
	}
	return &partTarget{t, from, to, edges}, nil
}

func tooSmall(size, least int64) error {
	return fmt.Errorf("it is too small: it has %d bytes, and the smallest that would do has %d", size, least)
}

// Size returns where the part ends on the disk.
func (t *partTarget) Size() int64 { return t.to }

// clip returns the run of the part within n bytes at off. Its length is 0 only if there is none.
func (t *partTarget) clip(off, n int64) (from, length int64) {
	from = max(off, t.from)
	return from, max(0, min(off+n, t.to)-from)
}

// Extents yields zeros before the part, then what the target holds.
func (t *partTarget) Extents() iter.Seq2[image.Extent, error] {
	return func(yield func(image.Extent, error) bool) {
		if t.from > 0 && !yield(image.Extent{Len: t.from, Zero: true}, nil) {
			return
		}
		for e, err := range t.target.Extents() {
			if err == nil {
				e.Off, e.Len = t.clip(e.Off+t.from, e.Len)
			}
			if err == nil && e.Len == 0 { // behind the part: the device is larger
				return
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// ReadAt reads from the target; beyond the part's ends it reads the edges.
func (t *partTarget) ReadAt(p []byte, off int64) (int, error) {
	if off >= t.from && (off+int64(len(p)) <= t.to || len(t.edges) == 0 && t.target.Size() == t.to-t.from) {
		return t.target.ReadAt(p, off-t.from)
	}
	end := t.to
	for _, e := range t.edges {
		end = max(end, e.Off+int64(len(e.Data)))
	}
	short := off+int64(len(p)) > end
	if short {
		p = p[:max(0, end-off)]
	}
	clear(p)
	for _, e := range t.edges {
		diskmap.Overlay(p, off, e.Data, e.Off)
	}
	if at, n := t.clip(off, int64(len(p))); n > 0 {
		if got, err := t.target.ReadAt(p[at-off:][:n], at-t.from); int64(got) < n {
			return int(at-off) + got, err
		}
	}
	if short {
		return len(p), io.EOF
	}
	return len(p), nil
}

func (t *partTarget) WriteAt(p []byte, off int64) (int, error) {
	at, n := t.clip(off, int64(len(p)))
	if n == 0 {
		return len(p), nil
	}
	if wrote, err := t.target.WriteAt(p[at-off:][:n], at-t.from); err != nil {
		return int(at-off) + wrote, err
	}
	return len(p), nil
}

func (t *partTarget) Zero(off, n int64) error {
	at, n := t.clip(off, n)
	if n == 0 {
		return nil
	}
	return t.target.Zero(at-t.from, n)
}

func (t *partTarget) DropCache(off, n int64) error {
	at, n := t.clip(off, n)
	return t.target.DropCache(at-t.from, n)
}
