package restore

import (
	"context"
	"fmt"

	"platter/chunk"
	"platter/repo"
	"platter/snapshot"
	"platter/snapshot/diskmap"
	"platter/snapshot/image"
)

// A LostError says that a disk cannot be restored because parts of it are lost.
type LostError struct {
	Ranges  *diskmap.Runs // of the disk
	Reasons []error       // one of each kind; if very many, the first ones
}

func (e *LostError) Error() string {
	places := "1 place"
	if e.Ranges.Count != 1 {
		places = fmt.Sprintf("%d places", e.Ranges.Count)
	}
	text := fmt.Sprintf("the repository lacks %d bytes of it, in %s", e.Ranges.Bytes, places)
	if len(e.Reasons) > 0 {
		text += fmt.Sprintf(" (%v)", e.Reasons[0])
	}
	return text + "; nothing was written. 'platter check' lists what is lost, 'platter repair packs' gets it back from a copy of the " +
		"repository or from a disk, and 'platter repair snapshots' makes a version of what is left"
}

// Unwrap returns the reasons.
func (e *LostError) Unwrap() []error { return e.Reasons }

// A preflight walks the part of a map to restore, before the first write. It checks that each chunk is available, and
// counts their bytes.
type preflight struct {
	m       *content
	sources *repo.Sources
}

// A stock says which bytes of a subtree are available and which are lost.
type stock struct {
	data                int64 // bytes of chunks
	snapshot.LostRanges       // without reasons if nothing is lost
}

// lookAhead checks the map's part, and returns the number of bytes of chunks. The error is a *LostError if some chunks
// are not available, unless the target already has them in their places. onto is the target; it may be nil.
func (m *content) lookAhead(ctx context.Context, onto image.Disk) (data int64, err error) {
	p := &preflight{m: m, sources: m.repo.Sources()}
	fold := diskmap.Fold[*stock]{AllCores: true, Page: p.page, Node: p.node, Beyond: p.beyond, Unreadable: p.unreadable}
	all, err := fold.Of(ctx, m.Map)
	if err != nil || all == nil { // nil: all zeros
		return 0, err
	}
	if len(all.Reasons) == 0 {
		return all.data, nil
	}
	if onto != nil {
		held, err := p.held(ctx, onto)
		if held || err != nil {
			return all.data, err
		}
	}
	return all.data, &LostError{&all.Runs, all.Reasons}
}

func (p *preflight) beyond() (*stock, error) {
	s := new(stock)
	s.Because(diskmap.ErrBeyond)
	return s, nil
}

// unreadable returns what is lost with a node or page. It returns an error if another try may read it.
func (p *preflight) unreadable(_ context.Context, t diskmap.Subtree, reason error) (*stock, error) {
	if !snapshot.IsFinal(reason) {
		return nil, reason
	}
	s := new(stock)
	s.Runs.Add(0, t.Width)
	s.Because(reason)
	return s, nil
}

func (p *preflight) node(_ context.Context, _ diskmap.Subtree, below []diskmap.Below[*stock]) (*stock, error) {
	s := new(stock)
	for _, b := range below {
		s.data += b.Value.data
		if len(b.Value.Reasons) > 0 {
			s.Runs.Place(b.Off, &b.Value.Runs)
			s.Because(b.Value.Reasons...)
		}
	}
	return s, nil
}

func (p *preflight) page(ctx context.Context, m *diskmap.Map, region int64, pieces []diskmap.Piece) (*stock, error) {
	from, to := m.Within()
	s := new(stock)
	for _, q := range m.PlacesOf(region, pieces) {
		if q.Kind != diskmap.Data {
			continue
		}
		off, end := max(q.Off, from), min(q.End(), to)
		s.data += end - off
		if err := p.sources.Has(ctx, chunk.Data, q.ID, q.Len); err != nil {
			if ctx.Err() != nil || !snapshot.IsFinal(err) {
				return nil, err
			}
			s.Runs.Add(off-region*diskmap.RegionSize, end-off)
			s.Because(err)
		}
	}
	return s, nil
}

// held reports whether a disk has all unavailable chunks in their places: then none of them needs fetching.
func (p *preflight) held(ctx context.Context, onto image.Disk) (bool, error) {
	from, to := p.m.Within()
	t, err := p.m.seat(ctx, lookOnly{onto, to - from})
	if err != nil { // a chunk at an end of the part is not available
		return false, ctx.Err()
	}
	namer := p.m.repo.Namer(chunk.Data)
	defer p.m.repo.Return(chunk.Data, namer)
	var buf []byte
	for reg, err := range p.m.Regions(ctx) {
		if err != nil {
			return false, ctx.Err() // a page is not available
		}
		places, err := p.m.Places(ctx, reg.Index, reg.Page)
		if err != nil {
			return false, ctx.Err()
		}
		for _, q := range places {
			if q.Kind != diskmap.Data || q.End() <= from || q.Off >= to || p.sources.Has(ctx, chunk.Data, q.ID, q.Len) == nil {
				continue
			}
			buf = append(buf[:0], make([]byte, q.Len)...)
			if n, _ := t.ReadAt(buf, q.Off); n < len(buf) || namer.ID(buf) != q.ID {
				return false, ctx.Err()
			}
		}
	}
	return true, nil
}
