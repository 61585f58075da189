package backup

import (
	"context"
	"iter"

	"platter/chunk"
	"platter/snapshot/diskmap"
)

// A guide walks the map of a disk's parent version along with the disk. If a chunk of that version is still in place,
// hashing it proves that. Then the far slower search for cuts is not needed. The result is the same without a guide: a
// page depends only on the region's bytes.
//
// A guide is only a hint: if it cannot be read, the region is cut without it.
type guide struct {
	next func() (diskmap.Region, error, bool)
	stop func()
	at   diskmap.Region
	ok   bool // at is a region of the map
}

// newGuide starts at the map's first region. A nil map gives an empty guide. Stop must be called.
func newGuide(ctx context.Context, m *diskmap.Map) *guide {
	if m == nil {
		return &guide{stop: func() {}}
	}
	g := new(guide)
	g.next, g.stop = iter.Pull2(m.Regions(ctx))
	g.step()
	return g
}

func (g *guide) step() {
	at, err, ok := g.next()
	g.at, g.ok = at, ok && err == nil
}

// page returns the ID of a region's page, zero if there is none. Regions must be asked for in order.
func (g *guide) page(region int64) chunk.ID {
	for g.ok && g.at.Index < region {
		g.step()
	}
	if !g.ok || g.at.Index != region {
		return chunk.ID{}
	}
	return g.at.Page
}

// A trail is the pieces of one region of the parent version.
type trail struct {
	pieces []diskmap.Piece // from off on
	off    int64           // in the region, bytes
	before diskmap.PieceKind
}

// chunkAt returns the chunk that started at byte off of the region, and whether it ended with the region or before
// zeros. It returns no chunk next to unreadable bytes: such a chunk is a remnant, not cut by its content. The caller's
// off must never decrease.
func (t *trail) chunkAt(off int64) (c diskmap.Piece, ended, ok bool) {
	for len(t.pieces) > 0 && t.off < off {
		t.off += int64(t.pieces[0].Len)
		t.before, t.pieces = t.pieces[0].Kind, t.pieces[1:]
	}
	if len(t.pieces) == 0 || t.off != off || t.pieces[0].Kind != diskmap.Data {
		return diskmap.Piece{}, false, false
	}
	if t.before == diskmap.Unreadable || len(t.pieces) > 1 && t.pieces[1].Kind == diskmap.Unreadable {
		return diskmap.Piece{}, false, false
	}
	ended = len(t.pieces) == 1 || t.pieces[1].Kind != diskmap.Data
	return t.pieces[0], ended, true
}
