package snapshot

import (
	"context"
	"fmt"
	"slices"

	"platter/chunk"
	"platter/pack"
	"platter/repo"
)

// A Loss is what damage costs one snapshot.
type Loss struct {
	Snapshot *Snapshot
	Ranges   []Range // of its disk, in order
	Reasons  []error // one of each kind
}

// CheckMaps walks the maps of all snapshots and returns what is lost to those that are not whole: pages that cannot be
// read, chunks that no index lists or that are of the wrong length, and chunks that bad says are damaged. Subtrees that
// snapshots share are walked once.
func CheckMaps(ctx context.Context, r *repo.Repo, snapshots []*Snapshot, bad func(chunk.ID) error) ([]Loss, error) {
	c := &mapCheck{repo: r, bad: bad, known: map[subtree][]lostRange{}}
	var losses []Loss
	for _, s := range snapshots {
		m := s.Map(r)
		lost, err := c.walk(ctx, m, height(m.size), 0, s.Root)
		if err != nil {
			return nil, err
		}
		if len(lost) > 0 {
			losses = append(losses, makeLoss(s, lost))
		}
	}
	return losses, nil
}

// CheckMapsBeside does what CheckMaps does after a Check, beside others who forget and prune. What seems to be lost is looked
// at again, in the index as it is then: a snapshot that was forgotten is no loss, and a chunk may lie elsewhere by now.
func CheckMapsBeside(ctx context.Context, r *repo.Repo, snapshots []*Snapshot, report *repo.Report) ([]Loss, error) {
	const tries = 4
	for try := 1; ; try++ {
		losses, err := CheckMaps(ctx, r, snapshots, report.Bad)
		if err != nil || len(losses) == 0 {
			return nil, err
		}
		listed, err := r.ListSnapshots(ctx)
		if err != nil {
			return nil, err
		}
		losses = slices.DeleteFunc(losses, func(l Loss) bool { return !slices.Contains(listed, l.Snapshot.ID) })
		changed, err := r.Recheck(ctx, report)
		if err != nil || !changed || try == tries || len(losses) == 0 {
			return losses, err
		}
		snapshots = nil
		for _, l := range losses {
			snapshots = append(snapshots, l.Snapshot)
		}
	}
}

func makeLoss(s *Snapshot, lost []lostRange) Loss {
	l := Loss{Snapshot: s}
	var joined ranges
	seen := map[string]bool{}
	for _, q := range lost {
		joined.add(q.Off, q.Len)
		if text := q.reason.Error(); !seen[text] {
			seen[text] = true
			l.Reasons = append(l.Reasons, q.reason)
		}
	}
	l.Ranges = joined
	return l
}

type lostRange struct {
	Range
	reason error
}

// A subtree is what was walked before. The same page at another place, or as the shorter last one of another disk,
// is walked again: what it loses lies elsewhere.
type subtree struct {
	id       chunk.ID
	at, size int64 // bytes of the disk that it spans
}

type mapCheck struct {
	repo  *repo.Repo
	bad   func(chunk.ID) error
	known map[subtree][]lostRange
}

// walk returns what is lost below one node or page, in order. The error is ctx's.
func (c *mapCheck) walk(ctx context.Context, m *Map, level int, at int64, id chunk.ID) (lost []lostRange, err error) {
	if ctx.Err() != nil || id.IsZero() {
		return nil, ctx.Err()
	}
	if !m.has(level, at) {
		return []lostRange{{Range{m.size, 0}, errBeyond}}, nil
	}
	from, to := m.span(level, at)
	key := subtree{id, from, to}
	if lost, ok := c.known[key]; ok {
		return lost, nil
	}
	whole := func(reason error) []lostRange { return []lostRange{{Range{from, to - from}, reason}} }
	switch {
	case level == 0:
		pieces, err := m.page(ctx, at, id)
		if err != nil {
			lost = whole(err)
			break
		}
		lost = c.pieces(from, pieces)
	default:
		n, err := m.node(ctx, level, id)
		if err != nil {
			lost = whole(err)
			break
		}
		for i, child := range n {
			below, err := c.walk(ctx, m, level-1, at*fanOut+int64(i), child)
			if err != nil {
				return nil, err
			}
			lost = append(lost, below...)
		}
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	c.known[key] = lost
	return lost, nil
}

func (c *mapCheck) pieces(off int64, pieces []piece) (lost []lostRange) {
	for _, q := range pieces {
		if q.kind == dataPiece {
			if reason := c.chunk(q); reason != nil {
				lost = append(lost, lostRange{Range{off, int64(q.len)}, reason})
			}
		}
		off += int64(q.len)
	}
	return lost
}

// chunk returns why a chunk cannot be had, or nil.
func (c *mapCheck) chunk(q piece) error {
	loc, ok := c.repo.Index().Lookup(q.id)
	switch {
	case !ok:
		return errNotIndexed
	case loc.Len != q.len || loc.Frame.Kind != chunk.Data:
		return wrongLength(q.id, int(loc.Len), q.len)
	}
	return c.bad(q.id)
}

var (
	errBeyond     = fmt.Errorf("%w: its map goes beyond the end of the disk", pack.ErrDamaged)
	errNotIndexed = fmt.Errorf("%w: when index files were lost, 'repair index' brings it back from the packs", repo.ErrMissing)
)
