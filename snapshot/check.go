package snapshot

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"platter/chunk"
	"platter/pack"
	"platter/repo"
)

// A Loss is what damage costs one snapshot.
type Loss struct {
	Snapshot *Snapshot
	Ranges   *Runs   // of its disk
	Reasons  []error // one of each kind; of very many the first
	Missing  bool    // one of all reasons is that no index file lists something (repo.ErrMissing)
}

// CheckMaps walks the maps of all snapshots and returns what is lost to those that are not whole: pages that cannot be
// read, chunks that no index lists or that are of the wrong length, and chunks that bad says are damaged. Subtrees that
// snapshots share are walked once.
func CheckMaps(ctx context.Context, r *repo.Repo, snapshots []*Snapshot, bad func(chunk.ID) error) ([]Loss, error) {
	return newMapCheck(r, bad).all(ctx, snapshots)
}

func newMapCheck(r *repo.Repo, bad func(chunk.ID) error) *mapCheck {
	return &mapCheck{repo: r, bad: bad, known: map[subtree]*lost{}}
}

func (c *mapCheck) all(ctx context.Context, snapshots []*Snapshot) ([]Loss, error) {
	var losses []Loss
	for _, s := range snapshots {
		m := s.Map(c.repo)
		lost, err := c.walk(ctx, m, height(m.sizeOf()), 0, s.Root)
		if err != nil {
			return nil, err
		}
		if lost != nil {
			losses = append(losses, Loss{s, &lost.runs, lost.reasons, lost.missing})
		}
	}
	return losses, nil
}

// CheckMapsBeside does what CheckMaps does after a Check, beside others who forget and prune. What seems to be lost is looked
// at again, in the index as it is then: a snapshot that somebody has forgotten is no loss, and a chunk may lie elsewhere by now.
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
		var gone []pack.FileID
		for _, l := range losses {
			if !slices.Contains(listed, l.Snapshot.ID) {
				gone = append(gone, l.Snapshot.ID)
			}
		}
		missing, err := r.NotForgotten(ctx, gone)
		if err != nil {
			return nil, err
		}
		losses = slices.DeleteFunc(losses, func(l Loss) bool {
			return slices.Contains(gone, l.Snapshot.ID) && !slices.Contains(missing, l.Snapshot.ID)
		})
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

// lost is what damage costs a subtree, in ranges that are counted from where it begins.
type lost struct {
	runs    Runs
	reasons []error // at least one
	missing bool
}

// maxReasons is how many reasons are told of one subtree. Each names a chunk, and a hostile map has as many as it likes.
const maxReasons = 20

var errMoreReasons = errors.New("of other reasons, which are not listed")

// because adds reasons that are not there yet.
func (l *lost) because(reasons ...error) {
	for _, reason := range reasons {
		l.missing = l.missing || errors.Is(reason, repo.ErrMissing)
		same := func(other error) bool { return other.Error() == reason.Error() }
		switch {
		case len(l.reasons) > maxReasons || slices.ContainsFunc(l.reasons, same):
		case len(l.reasons) == maxReasons:
			l.reasons = append(l.reasons, errMoreReasons)
		default:
			l.reasons = append(l.reasons, reason)
		}
	}
}

type mapCheck struct {
	repo    *repo.Repo
	bad     func(chunk.ID) error
	known   map[subtree]*lost       // what was walked before; nil for what is whole
	missing map[chunk.ID]chunk.Kind // that no index lists; nil where nobody wants to know
	passing error                   // why something could not be read that may be read another time
}

// walk returns what is lost below one node or page, nil for nothing. The error is ctx's.
func (c *mapCheck) walk(ctx context.Context, m *Map, level int, at int64, id chunk.ID) (*lost, error) {
	if ctx.Err() != nil || id.IsZero() {
		return nil, ctx.Err()
	}
	if !m.has(level, at) {
		return &lost{reasons: []error{errBeyond}}, nil
	}
	key := m.subtree(level, at, id)
	if l, ok := c.known[key]; ok {
		return l, nil
	}
	look := c.node
	if level == 0 {
		look = c.page
	}
	l, err := look(ctx, m, level, at, id)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		l = c.unreadable(key, err)
	}
	if len(l.reasons) == 0 {
		l = nil
	}
	c.known[key] = l
	return l, nil
}

// unreadable is what is lost with a node or page that cannot be read.
func (c *mapCheck) unreadable(t subtree, reason error) *lost {
	if m, ok := errors.AsType[*repo.MissingError](reason); ok {
		c.miss(m.ID, chunk.Map)
	}
	if !isFinal(reason) && c.bad(t.id) == nil {
		c.passing = reason
	}
	l := new(lost)
	l.runs.add(0, t.width)
	l.because(reason)
	return l
}

// node returns what is lost below a node; the error says why it cannot be read, or is ctx's.
func (c *mapCheck) node(ctx context.Context, m *Map, level int, at int64, id chunk.ID) (*lost, error) {
	n, err := m.node(ctx, level, id)
	if err != nil {
		return nil, err
	}
	l := new(lost)
	for i, child := range n {
		below, err := c.walk(ctx, m, level-1, at*fanOut+int64(i), child)
		if err != nil {
			return nil, err
		}
		if below != nil {
			l.runs.place(childOff(level, i), &below.runs)
			l.because(below.reasons...)
			l.missing = l.missing || below.missing
		}
	}
	return l, nil
}

// page does the same for a page.
func (c *mapCheck) page(ctx context.Context, m *Map, _ int, at int64, id chunk.ID) (*lost, error) {
	pieces, err := m.page(ctx, at, id)
	if err != nil {
		return nil, err
	}
	l, off := new(lost), int64(0)
	for _, q := range pieces {
		if q.kind == dataPiece {
			if reason := c.chunk(q); reason != nil {
				l.runs.add(off, int64(q.len))
				l.because(reason)
			}
		}
		off += int64(q.len)
	}
	return l, nil
}

func (c *mapCheck) miss(id chunk.ID, kind chunk.Kind) {
	if c.missing != nil {
		c.missing[id] = kind
	}
}

// chunk returns why a chunk cannot be had, or nil.
func (c *mapCheck) chunk(q piece) error {
	loc, ok := c.repo.Index().Lookup(q.id)
	switch {
	case !ok:
		c.miss(q.id, chunk.Data)
		return errNotIndexed
	case loc.Len != q.len || loc.Frame.Kind != chunk.Data:
		return wrongLength(q.id, int(loc.Len), q.len)
	}
	return c.bad(q.id)
}

var errNotIndexed = fmt.Errorf("%w: when index files were lost, 'repair index' brings it back from the packs", repo.ErrMissing)
