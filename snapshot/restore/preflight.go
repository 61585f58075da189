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

// A LostError says that a disk cannot be restored, because the repository does not have all of it.
type LostError struct {
	Ranges  *diskmap.Runs // of the disk
	Reasons []error       // one of each kind; of very many the first
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

// A preflight walks the part of a map that is to be restored, before the first byte is written: whether each chunk can be had, and
// how much there is.
type preflight struct {
	m       *content
	sources *repo.Sources
}

// A stock is what of a subtree there is, and what not.
type stock struct {
	data                int64 // bytes of chunks
	snapshot.LostRanges       // of nothing: no reasons
}

// lookAhead looks at all of the map's part. It returns how many bytes of chunks there are. The error is a *LostError where some cannot be
// had, unless the disk that the part is to be written onto, which may be nil, has them in their places already.
func (m *content) lookAhead(ctx context.Context, onto image.Disk) (data int64, err error) {
	p := &preflight{m: m, sources: m.repo.Sources()}
	fold := diskmap.Fold[*stock]{AllCores: true, Page: p.page, Node: p.node, Beyond: p.beyond, Unreadable: p.unreadable}
	all, err := fold.Of(ctx, m.Map)
	if err != nil || all == nil { // nil: zeros
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

// unreadable is what is lost with a node or page. The error says that it may be read another time.
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

// held reports whether a disk has all chunks that cannot be had in their places: then they need not be fetched.
func (p *preflight) held(ctx context.Context, onto image.Disk) (bool, error) {
	from, to := p.m.Within()
	t, err := p.m.seat(ctx, lookOnly{onto, to - from})
	if err != nil { // a chunk at an end of the part cannot be had
		return false, ctx.Err()
	}
	namer := p.m.repo.Namer(chunk.Data)
	defer p.m.repo.Return(chunk.Data, namer)
	var buf []byte
	for reg, err := range p.m.Regions(ctx) {
		if err != nil {
			return false, ctx.Err() // a page that cannot be had
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
