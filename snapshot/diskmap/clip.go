package diskmap

import (
	"context"
	"fmt"
	"iter"

	"platter/chunk"
	"platter/snapshot/image"
)

// Clip returns the map of a part of the disk. Offsets still count from the start of the disk.
func (m *Map) Clip(part Range) (*Map, error) {
	if part.Off < 0 || part.Len < 0 || part.Len > m.size-part.Off {
		return nil, fmt.Errorf("%d bytes at %d are not on the disk, which has %d", part.Len, part.Off, m.size)
	}
	c := *m
	if c.part = nil; part.Off != 0 || part.Len != m.size {
		c.part = &part
	}
	return &c, nil
}

// Within returns the start and end of the map's part, in bytes.
func (m *Map) Within() (from, to int64) {
	if m.part == nil {
		return 0, m.size
	}
	return m.part.Off, m.part.end()
}

// Length is the length of the map's part, in bytes.
func (m *Map) Length() int64 {
	from, to := m.Within()
	return to - from
}

// Touches reports whether the map's part has some bytes of a node or page.
func (m *Map) Touches(level int, at int64) bool {
	if m.part == nil {
		return true
	}
	from, to := m.Span(level, at)
	return from < m.part.end() && m.part.Off < to
}

// A Place is a piece of a disk and its offset.
type Place struct {
	Piece
	Off int64 // on the disk, bytes
}

// End is the offset of the first byte after the place.
func (p Place) End() int64 { return p.Off + int64(p.Len) }

// Places returns the pieces of a region that overlap the map's part. Chunks are returned whole, even if they reach
// beyond its ends; other pieces are clipped to it.
func (m *Map) Places(ctx context.Context, region int64, page chunk.ID) ([]Place, error) {
	pieces, err := m.Page(ctx, region, page)
	if err != nil {
		return nil, err
	}
	return m.PlacesOf(region, pieces), nil
}

// PlacesOf is Places for a region with known pieces.
func (m *Map) PlacesOf(region int64, pieces []Piece) []Place {
	from, to := m.Within()
	all := make([]Place, 0, len(pieces))
	off := region * RegionSize
	for _, q := range pieces {
		p := Place{q, off}
		off = p.End()
		if off <= from || p.Off >= to {
			continue
		}
		if q.Kind != Data {
			end := min(off, to)
			p.Off = max(p.Off, from)
			p.Len = uint32(end - p.Off)
		}
		all = append(all, p)
	}
	return all
}

// An Edge is the data right beyond an end of the map's part, from the chunk that crosses that end.
type Edge struct {
	Off  int64 // bytes
	Data []byte
}

// Edges loads the edges of the map's part, at most two.
func (m *Map) Edges(ctx context.Context) (edges []Edge, err error) {
	if m.part == nil || m.part.Len == 0 {
		return nil, nil
	}
	from, to := m.Within()
	seen := int64(-1)
	for _, at := range []int64{from, to - 1} {
		region := at / RegionSize
		id, err := m.PageID(ctx, region)
		if err != nil {
			return nil, err
		}
		places, err := m.Places(ctx, region, id)
		if err != nil {
			return nil, err
		}
		for _, p := range places {
			if p.Kind != Data || p.Off >= from && p.End() <= to || p.Off > at || p.End() <= at || p.Off == seen {
				continue
			}
			seen = p.Off
			err := m.load.Load(ctx, chunk.Data, []chunk.ID{p.ID}, func(_ int, data []byte) error {
				if len(data) != int(p.Len) {
					return WrongLength(p.ID, len(data), p.Len)
				}
				if p.Off < from {
					edges = append(edges, Edge{p.Off, append([]byte(nil), data[:from-p.Off]...)})
				}
				if p.End() > to {
					edges = append(edges, Edge{to, append([]byte(nil), data[to-p.Off:]...)})
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

// Covers reports whether the map's part contains all bytes of a node or page.
func (m *Map) Covers(level int, at int64) bool {
	if m.part == nil {
		return true
	}
	from, to := m.Span(level, at)
	return from >= m.part.Off && to <= m.part.end()
}

// Extents yields the extents of the map's part in order. Offsets count from the start of the part. Unreadable pieces are
// zero extents, as a restore writes them.
func (m *Map) Extents(ctx context.Context) iter.Seq2[image.Extent, error] {
	return m.extents(ctx, func(kind PieceKind) bool { return kind != Data })
}

// ReadableExtents is Extents for readers to whom an unreadable piece is an error: it counts as data.
func (m *Map) ReadableExtents(ctx context.Context) iter.Seq2[image.Extent, error] {
	return m.extents(ctx, func(kind PieceKind) bool { return kind == Zeros })
}

func (m *Map) extents(ctx context.Context, zero func(PieceKind) bool) iter.Seq2[image.Extent, error] {
	return image.Joined(func(yield func(image.Extent, error) bool) {
		from, to := m.Within()
		at := from
		emit := func(end int64, zero bool) bool {
			e := image.Extent{Off: at - from, Len: end - at, Zero: zero}
			at = end
			return yield(e, nil) // image.Joined drops empty ones
		}
		for reg, err := range m.Regions(ctx) {
			var places []Place
			if err == nil {
				places, err = m.Places(ctx, reg.Index, reg.Page)
			}
			if err != nil {
				yield(image.Extent{}, err)
				return
			}
			for _, p := range places {
				if !emit(max(p.Off, at), true) || !emit(min(p.End(), to), zero(p.Kind)) {
					return
				}
			}
		}
		emit(to, true)
	})
}

// Overlay copies src to dst where they overlap. src starts at from, and dst at off.
func Overlay(dst []byte, off int64, src []byte, from int64) {
	if from < off {
		src = src[min(int64(len(src)), off-from):]
		from = off
	}
	if from-off < int64(len(dst)) {
		copy(dst[from-off:], src)
	}
}
