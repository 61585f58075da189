package snapshot

import (
	"context"
	"fmt"
	"iter"

	"platter/chunk"
	"platter/snapshot/image"
)

// clip returns the map of a part of the disk. Offsets stay those of the disk.
func (m *Map) clip(part Range) (*Map, error) {
	if part.Off < 0 || part.Len < 0 || part.Len > m.size-part.Off {
		return nil, fmt.Errorf("%d bytes at %d are not on the disk, which has %d", part.Len, part.Off, m.size)
	}
	c := *m
	if c.part = nil; part.Off != 0 || part.Len != m.size {
		c.part = &part
	}
	return &c, nil
}

// within is where the map's part begins and ends, in bytes.
func (m *Map) within() (from, to int64) {
	if m.part == nil {
		return 0, m.size
	}
	return m.part.Off, m.part.end()
}

// length is how long the map's part is, in bytes.
func (m *Map) length() int64 {
	from, to := m.within()
	return to - from
}

// touches reports whether some of what a node or page describes lies in the map's part.
func (m *Map) touches(level int, at int64) bool {
	if m.part == nil {
		return true
	}
	from, to := m.span(level, at)
	return from < m.part.end() && m.part.Off < to
}

// A place is a piece of a disk, and where it lies.
type place struct {
	piece
	off int64 // of the disk, bytes
}

func (p place) end() int64 { return p.off + int64(p.len) }

// places returns the pieces of a region that lie in the map's part: chunks as they are, also where they reach beyond its
// ends, and of all else only what lies between these.
func (m *Map) places(ctx context.Context, region int64, page chunk.ID) ([]place, error) {
	pieces, err := m.page(ctx, region, page)
	if err != nil {
		return nil, err
	}
	from, to := m.within()
	all := make([]place, 0, len(pieces))
	off := region * RegionSize
	for _, q := range pieces {
		p := place{q, off}
		off = p.end()
		if off <= from || p.off >= to {
			continue
		}
		if q.kind != dataPiece {
			end := min(off, to)
			p.off = max(p.off, from)
			p.len = uint32(end - p.off)
		}
		all = append(all, p)
	}
	return all, nil
}

// An edge is what of the disk lies right beyond an end of the map's part, in the chunk that reaches over it.
type edge struct {
	off  int64 // bytes
	data []byte
}

// edges loads them, at most two.
func (m *Map) edges(ctx context.Context) (edges []edge, err error) {
	if m.part == nil || m.part.Len == 0 {
		return nil, nil
	}
	from, to := m.within()
	seen := int64(-1)
	for _, at := range []int64{from, to - 1} {
		region := at / RegionSize
		id, err := m.pageID(ctx, region)
		if err != nil {
			return nil, err
		}
		places, err := m.places(ctx, region, id)
		if err != nil {
			return nil, err
		}
		for _, p := range places {
			if p.kind != dataPiece || p.off >= from && p.end() <= to || p.off > at || p.end() <= at || p.off == seen {
				continue
			}
			seen = p.off
			err := m.load.Load(ctx, chunk.Data, []chunk.ID{p.id}, func(_ int, data []byte) error {
				if len(data) != int(p.len) {
					return wrongLength(p.id, len(data), p.len)
				}
				if p.off < from {
					edges = append(edges, edge{p.off, append([]byte(nil), data[:from-p.off]...)})
				}
				if p.end() > to {
					edges = append(edges, edge{to, append([]byte(nil), data[to-p.off:]...)})
				}
				return nil
			})
			if err != nil {
				return nil, err
			}
		}
	}
	return edges, nil
}

// covers reports whether all of what a node or page describes lies in the map's part.
func (m *Map) covers(level int, at int64) bool {
	if m.part == nil {
		return true
	}
	from, to := m.span(level, at)
	return from >= m.part.Off && to <= m.part.end()
}

// extents yields the map's part of the disk in order, counted from where it begins.
func (m *Map) extents(ctx context.Context) iter.Seq2[image.Extent, error] {
	return image.Joined(func(yield func(image.Extent, error) bool) {
		from, to := m.within()
		at := from
		emit := func(end int64, zero bool) bool {
			e := image.Extent{Off: at - from, Len: end - at, Zero: zero}
			at = end
			return yield(e, nil) // those without bytes are left out
		}
		for reg, err := range m.regions(ctx) {
			var places []place
			if err == nil {
				places, err = m.places(ctx, reg.index, reg.page)
			}
			if err != nil {
				yield(image.Extent{}, err)
				return
			}
			for _, p := range places {
				if !emit(max(p.off, at), true) || !emit(min(p.end(), to), p.kind != dataPiece) {
					return
				}
			}
		}
		emit(to, true)
	})
}

// overlay copies what of src, which lies at from, falls on dst, which lies at off.
func overlay(dst []byte, off int64, src []byte, from int64) {
	if from < off {
		src = src[min(int64(len(src)), off-from):]
		from = off
	}
	if from-off < int64(len(dst)) {
		copy(dst[from-off:], src)
	}
}
