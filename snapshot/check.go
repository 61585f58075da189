package snapshot

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"platter/chunk"
	"platter/pack"
	"platter/repo"
	"platter/snapshot/diskmap"
)

// A Loss is what damage costs one snapshot.
type Loss struct {
	Snapshot *Snapshot
	Ranges   *diskmap.Runs // of its disk
	Reasons  []error       // one of each kind; of very many the first
	Missing  bool          // one of all reasons is that no index file lists something (repo.ErrMissing)
}

// CheckMaps walks the maps of all snapshots and returns what is lost to those that are not whole: pages that cannot be
// read, chunks that no index lists or that are of the wrong length, and chunks that bad says are damaged. Subtrees that
// snapshots share are walked once.
func CheckMaps(ctx context.Context, r *repo.Repo, snapshots []*Snapshot, bad func(chunk.ID) error) ([]Loss, error) {
	return NewMapCheck(r, bad).All(ctx, snapshots)
}

// NewMapCheck returns a check that takes chunks for damaged where bad returns why.
func NewMapCheck(r *repo.Repo, bad func(chunk.ID) error) *MapCheck {
	c := &MapCheck{repo: r, bad: bad}
	c.fold = diskmap.Fold[*LostRanges]{
		Page:       c.page,
		Node:       c.node,
		Unreadable: c.unreadable,
		Beyond:     func() (*LostRanges, error) { return &LostRanges{Reasons: []error{diskmap.ErrBeyond}}, nil },
	}
	return c
}

// All returns what is lost to those of the snapshots that are not whole. The error is ctx's.
func (c *MapCheck) All(ctx context.Context, snapshots []*Snapshot) ([]Loss, error) {
	var losses []Loss
	for _, s := range snapshots {
		lost, err := c.fold.Of(ctx, s.Map(c.repo))
		if err != nil {
			return nil, err
		}
		if lost != nil {
			losses = append(losses, Loss{s, &lost.Runs, lost.Reasons, lost.missing})
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

// LostRanges is what damage costs a subtree, in ranges that are counted from where it begins.
type LostRanges struct {
	Runs    diskmap.Runs
	Reasons []error // at least one
	missing bool
}

// maxReasons is how many reasons are told of one subtree. Each names a chunk, and a hostile map has as many as it likes.
const maxReasons = 20

var errMoreReasons = errors.New("of other reasons, which are not listed")

// Because adds reasons that are not there yet.
func (l *LostRanges) Because(reasons ...error) {
	for _, reason := range reasons {
		l.missing = l.missing || errors.Is(reason, repo.ErrMissing)
		same := func(other error) bool { return other.Error() == reason.Error() }
		switch {
		case len(l.Reasons) > maxReasons || slices.ContainsFunc(l.Reasons, same):
		case len(l.Reasons) == maxReasons:
			l.Reasons = append(l.Reasons, errMoreReasons)
		default:
			l.Reasons = append(l.Reasons, reason)
		}
	}
}

// A MapCheck walks the maps of snapshots. What is lost of a subtree is nil where it is whole.
type MapCheck struct {
	repo    *repo.Repo
	bad     func(chunk.ID) error
	fold    diskmap.Fold[*LostRanges]
	Missing map[chunk.ID]chunk.Kind // that no index lists; nil where they are not collected
	Passing error                   // why something could not be read that may be read another time
}

// IsWhole reports whether a subtree was walked, and nothing of it is lost.
func (c *MapCheck) IsWhole(s diskmap.Subtree) bool {
	l, ok := c.fold.Known(s)
	return ok && l == nil
}

// unreadable is what is lost with a node or page that cannot be read.
func (c *MapCheck) unreadable(_ context.Context, s diskmap.Subtree, reason error) (*LostRanges, error) {
	if m, ok := errors.AsType[*repo.MissingError](reason); ok {
		c.miss(m.ID, chunk.Map)
	}
	if !IsFinal(reason) && c.bad(s.ID) == nil {
		c.Passing = reason
	}
	l := new(LostRanges)
	l.Runs.Add(0, s.Width)
	l.Because(reason)
	return l, nil
}

func (c *MapCheck) node(_ context.Context, _ diskmap.Subtree, below []diskmap.Below[*LostRanges]) (l *LostRanges, err error) {
	for _, b := range below {
		if b.Value == nil {
			continue
		}
		if l == nil {
			l = new(LostRanges)
		}
		l.Runs.Place(b.Off, &b.Value.Runs)
		l.Because(b.Value.Reasons...)
		l.missing = l.missing || b.Value.missing
	}
	return l, nil
}

func (c *MapCheck) page(_ context.Context, _ *diskmap.Map, _ int64, pieces []diskmap.Piece) (l *LostRanges, err error) {
	off := int64(0)
	for _, q := range pieces {
		if q.Kind == diskmap.Data {
			if reason := c.Chunk(q); reason != nil {
				if l == nil {
					l = new(LostRanges)
				}
				l.Runs.Add(off, int64(q.Len))
				l.Because(reason)
			}
		}
		off += int64(q.Len)
	}
	return l, nil
}

func (c *MapCheck) miss(id chunk.ID, kind chunk.Kind) {
	if c.Missing != nil {
		c.Missing[id] = kind
	}
}

// Chunk returns why a chunk cannot be had, or nil.
func (c *MapCheck) Chunk(q diskmap.Piece) error {
	loc, ok := c.repo.Index().Lookup(q.ID)
	switch {
	case !ok:
		c.miss(q.ID, chunk.Data)
		return errNotIndexed
	case loc.Len != q.Len || loc.Frame.Kind != chunk.Data:
		return diskmap.WrongLength(q.ID, int(loc.Len), q.Len)
	}
	return c.bad(q.ID)
}

var errNotIndexed = fmt.Errorf("%w: when index files were lost, 'repair index' brings it back from the packs", repo.ErrMissing)
