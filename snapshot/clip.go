package snapshot

import (
	"context"
	"fmt"

	"platter/chunk"
	"platter/repo"
)

// end is the byte behind the part.
func (p Part) end() int64 { return p.Off + p.Len }

// mapOf returns the map of a part of the snapshot's disk. Offsets stay those of the disk.
func (s *Snapshot) mapOf(r *repo.Repo, p Part) (*Map, error) {
	if p.Off < 0 || p.Len < 0 || p.Len > s.Size-p.Off {
		return nil, fmt.Errorf("%d bytes at %d do not lie on the disk, which has %d", p.Len, p.Off, s.Size)
	}
	m := s.Map(r)
	if p.Off != 0 || p.Len != s.Size {
		m.part = &p
	}
	return m, nil
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

// wantsAt returns the chunks among places.
func wantsAt(places []place) []repo.Want {
	wants := make([]repo.Want, 0, len(places))
	for _, p := range places {
		if p.kind == dataPiece {
			wants = append(wants, repo.Want{ID: p.id, Off: p.off, Len: p.len})
		}
	}
	return wants
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
			err := m.repo.Load(ctx, chunk.Data, []chunk.ID{p.id}, func(_ int, data []byte) error {
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
