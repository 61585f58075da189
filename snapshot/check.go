package snapshot

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"platter/chunk"
	"platter/index"
	"platter/pack"
	"platter/repo"
	"platter/snapshot/diskmap"
)

// A Loss is what one snapshot loses to damage.
type Loss struct {
	Snapshot *Snapshot
	Ranges   *diskmap.Runs // of the snapshot's disk
	Reasons  []error       // one of each kind; only the first ones if there are many
	Missing  bool          // at least one reason is that no index file lists something (repo.ErrMissing)
}

// Indexed is a loader of maps, and the index of all chunks; a *repo.Repo is one.
type Indexed interface {
	diskmap.Loader
	// Index returns the index as it is now.
	Index() *index.Index
}

// CheckMaps walks the maps of all snapshots and returns what is lost of those that are not whole. It finds pages that
// cannot be read, chunks that no index file lists or that have the wrong length, and chunks for which bad returns an
// error. It walks subtrees that snapshots share once.
func CheckMaps(ctx context.Context, r Indexed, snapshots []*Snapshot, bad func(chunk.ID) error) ([]Loss, error) {
	return NewMapCheck(r, bad).All(ctx, snapshots)
}

// NewMapCheck returns a check that treats a chunk as damaged if bad returns an error for it.
func NewMapCheck(r Indexed, bad func(chunk.ID) error) *MapCheck {
	c := &MapCheck{repo: r, bad: bad}
	c.fold = diskmap.Fold[*LostRanges]{
		Page:       c.page,
		Node:       c.node,
		Unreadable: c.unreadable,
		Beyond:     func() (*LostRanges, error) { return &LostRanges{Reasons: []error{diskmap.ErrBeyond}}, nil },
	}
	return c
}

// All returns what is lost of the snapshots that are not whole. Its only error is that of ctx.
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

// CheckMapsBeside is CheckMaps after a Check, while other processes may forget and prune. It checks apparent losses
// again in the current index: a forgotten snapshot is no loss, and a chunk may be in another pack by now.
func CheckMapsBeside(ctx context.Context, r *repo.Repo, snapshots []*Snapshot, report *repo.Report) ([]Loss, error) {
	const tries = 4
	for try := 1; ; try++ {
		losses, err := CheckMaps(ctx, r, snapshots, report.ChunkError)
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

// LostRanges is what a subtree loses to damage. Ranges count from the subtree's start.
type LostRanges struct {
	Runs    diskmap.Runs
	Reasons []error // at least one
	missing bool
}

// maxReasons is the number of reasons listed for one subtree. Each names a chunk, and a hostile map may have any
// number.
const maxReasons = 20

var errMoreReasons = errors.New("of other reasons, which are not listed")

// Because adds the reasons that are not listed yet.
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

// A MapCheck walks the maps of snapshots. The LostRanges of a whole subtree are nil.
type MapCheck struct {
	repo    Indexed
	bad     func(chunk.ID) error
	fold    diskmap.Fold[*LostRanges]
	Missing map[chunk.ID]chunk.Kind // chunks that no index file lists; nil if they are not collected
	Passing error                   // why something was unreadable; another try may work
}

// IsWhole reports whether a subtree was walked and nothing of it is lost.
func (c *MapCheck) IsWhole(s diskmap.Subtree) bool {
	l, ok := c.fold.Known(s)
	return ok && l == nil
}

// unreadable returns what is lost if a node or page cannot be read.
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

// Chunk returns why a chunk is missing or damaged, or nil.
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

var errNotIndexed = fmt.Errorf("%w: if index files are missing, 'repair index' recovers it from the packs", repo.ErrMissing)
