package repo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"platter/index"
	"platter/pack"
	"platter/repo/layout"
	"platter/repo/lease"
)

// looks is how often a check looks again because somebody seems to have pruned meanwhile.
const looks = 4

// Recheck looks again at what there is, for use when snapshots seem to miss something after Check: somebody may have pruned
// since. It reports whether anything changed since it was last looked at, and then the index is that of now.
func (r *Repo) Recheck(ctx context.Context, report *Report) (changed bool, err error) {
	c := r.newChecker(CheckOptions{}, nil)
	s, err := c.look(ctx)
	if err != nil {
		return false, err
	}
	c.report = report
	if s.same(report.sight) {
		return false, nil
	}
	c.use(s)
	c.missing(s)
	return true, nil
}

// use makes the index that of a sight.
func (c *checker) use(s *sight) {
	x := new(index.Index)
	for _, t := range s.tables {
		size, ok := s.packs[t.ID]
		t.Missing = !ok || size != t.Size
		x.AddPack(t.Pack, t.Table)
	}
	c.repo.change(func(v *view) { v.index = x })
	c.report.index, c.report.sight, c.parity = x, s, s.parity
}

// A sight is what there was in a repository when it was looked at.
type sight struct {
	found   *Report // of damage and notes, only what was found by looking
	work    *lease.State
	tables  map[pack.FileID]index.PackTable // of the packs that index files list
	packs   map[pack.FileID]int64           // that are there, and their sizes
	parity  map[pack.FileID]int64           // the same of parity files
	pending []pack.FileID
	records []pack.FileID
	newest  time.Time // of all files, by the store's clock

	missing   map[pack.FileID]bool // packs that are listed and not there
	condemned map[pack.FileID]bool // packs that markers condemn
}

// same reports whether two sights list the same packs, there and in the index.
func (s *sight) same(as *sight) bool {
	return maps.Equal(s.packs, as.packs) && maps.EqualFunc(s.tables, as.tables, func(a, b index.PackTable) bool { return a.Size == b.Size })
}

// look looks at the repository until what is missing there is not missing because somebody prunes.
//
// A prune puts a marker, takes the packs out of the index, deletes them, and deletes the marker; on a full store it deletes
// the packs first. A glance reads the markers first, then the index, and lists the packs last. So a pack that is missing for
// one glance because of a prune is, for the next one, in a marker, or no longer in the index.
func (c *checker) look(ctx context.Context) (*sight, error) {
	var missed map[pack.FileID]bool
	for try := 1; ; try++ {
		if lag := c.repo.listingAge(); try > 1 && lag > 0 { // where listings may be old, looking again at once shows the same
			if err := wait(ctx, lag); err != nil {
				return nil, err
			}
		}
		s, err := c.glance(ctx, try == looks)
		if layout.IsMissing(err) && try < looks { // an index file that another one replaced
			continue
		} else if err != nil {
			return nil, err
		}
		again := false
		for id := range s.missing {
			again = again || !missed[id]
		}
		if !again || try == looks {
			return s, nil
		}
		missed = s.missing
	}
}

func (c *checker) glance(ctx context.Context, last bool) (s *sight, err error) {
	s = &sight{found: new(Report), missing: map[pack.FileID]bool{}}
	g := &checker{repo: c.repo, report: s.found}
	if s.work, err = c.repo.leases.Read(ctx); err != nil {
		return nil, err
	}
	s.condemned = s.work.Condemned()
	if s.tables, err = g.indexes(ctx, last); err != nil {
		return nil, err
	}
	if err := g.files(ctx, s); err != nil { // after the index, so that every pack it lists must be there
		return nil, err
	}
	if err := c.orphans(ctx, s); err != nil {
		return nil, err
	}
	for id := range s.tables {
		if _, ok := s.packs[id]; !ok && !s.condemned[id] {
			s.missing[id] = true
		}
	}
	return s, nil
}

// orphans reads the markers once more where there are packs in no index: a prune that took them out has announced that.
func (c *checker) orphans(ctx context.Context, s *sight) error {
	for id := range s.packs {
		if _, listed := s.tables[id]; listed || s.condemned[id] {
			continue
		}
		w, err := c.repo.leases.Read(ctx)
		if err == nil {
			maps.Copy(s.condemned, w.Condemned())
		}
		return err
	}
	return nil
}

// take adds what was found by looking.
func (r *Report) take(found *Report) {
	r.Damage, r.Notes = append(r.Damage, found.Damage...), append(r.Notes, found.Notes...)
	for _, hint := range found.Hints {
		r.Advise(hint)
	}
	r.Indexes, r.Packs, r.PackBytes, r.Snapshots = found.Indexes, found.Packs, found.PackBytes, found.Snapshots
	r.Parity, r.ParityBytes = found.Parity, found.ParityBytes
	r.Odd, r.Leftover, r.Aside = found.Odd, found.Leftover, found.Aside
}

// missing notes packs that the index lists and that are not there. What a prune has deleted nobody needs, or else it is
// missing like any other.
func (c *checker) missing(s *sight) {
	for id := range s.missing {
		if c.report.badPacks[id] == nil && !c.report.mendable[id] {
			c.badPack(id, errMissing)
		}
	}
	pruned := 0
	for id := range s.tables {
		if _, ok := s.packs[id]; !ok && s.condemned[id] {
			pruned++
			c.report.badPacks[id] = fmt.Errorf("%s: %w: a prune has deleted it", layout.PackName(id), errMissing)
		}
	}
	if pruned > 0 {
		c.note("packs that a prune deleted, and that are still in the index: %d; the prune was interrupted, or is under way: run 'platter prune' again", pruned)
	}
}

// settle finds out about packs that were not there any more when they were read.
func (c *checker) settle(ctx context.Context, s *sight) (*sight, error) {
	if len(c.missingWhenRead) == 0 {
		return s, nil
	}
	now, err := c.look(ctx)
	if err != nil {
		return nil, err
	}
	for id := range c.missingWhenRead {
		_, listed := now.tables[id]
		if _, there := now.packs[id]; listed && there {
			c.badPack(id, errors.New("it is listed, and cannot be read as if it were not there"))
		}
	}
	c.use(now)
	c.missing(now)
	return now, nil
}

// note notes what is odd, and no damage.
func (c *checker) note(format string, args ...any) { c.notes([]string{fmt.Sprintf(format, args...)}) }

func (c *checker) notes(notes []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report.Notes = append(c.report.Notes, notes...)
}
