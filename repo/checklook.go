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

// looks is how many times a check looks at the repository, in case a prune runs meanwhile.
const looks = 4

// Recheck looks at the repository again. Use it if snapshots seem to need missing chunks after Check, because a prune
// may have run since. It reports whether anything changed since the last look; if so, it replaces the index by the
// current one.
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

// use makes the index of a sight the current one.
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

// A sight is the state of a repository at one look.
type sight struct {
	found    *Report // damage and notes that this look found, without reading packs
	work     *lease.State
	tables   map[pack.FileID]index.PackTable // of the packs that index files list
	packs    map[pack.FileID]int64           // packs present, with their sizes
	parity   map[pack.FileID]int64           // the same for parity files
	pending  []pack.FileID
	records  []pack.FileID
	verdicts []pack.FileID
	newest   time.Time // latest time of any file, by the store's clock

	missing   map[pack.FileID]bool // packs that are listed and not present
	condemned map[pack.FileID]bool // packs that markers condemn
}

// same reports whether two sights have the same packs, in the store and in the index.
func (s *sight) same(as *sight) bool {
	return maps.Equal(s.packs, as.packs) && maps.EqualFunc(s.tables, as.tables, func(a, b index.PackTable) bool { return a.Size == b.Size })
}

// look looks at the repository until no running prune explains a missing pack.
//
// A prune puts a marker, takes the packs out of the index, deletes them, and deletes the marker. On a full store it
// deletes the packs first. A glance reads the markers first, then the index, and lists the packs last. Suppose a prune
// makes a pack missing in one glance. Then the next glance finds the pack in a marker, or no longer in the index.
func (c *checker) look(ctx context.Context) (*sight, error) {
	var missed map[pack.FileID]bool
	for try := 1; ; try++ {
		if lag := c.repo.listingAge(); try > 1 && lag > 0 { // old listings would show the same again at once
			if err := wait(ctx, lag); err != nil {
				return nil, err
			}
		}
		s, err := c.glance(ctx, try == looks)
		if layout.IsMissing(err) && try < looks { // another index file replaced it
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
	if err := g.files(ctx, s); err != nil { // after the index, so that every listed pack must be there
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

// orphans reads the markers again if there are orphaned packs: a prune that took them out of the index has announced
// that.
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

// take adds the findings of a look to the report.
func (r *Report) take(found *Report) {
	r.Damage, r.Notes = append(r.Damage, found.Damage...), append(r.Notes, found.Notes...)
	for _, hint := range found.Hints {
		r.Advise(hint)
	}
	r.Indexes, r.Packs, r.PackBytes, r.Snapshots = found.Indexes, found.Packs, found.PackBytes, found.Snapshots
	r.Parity, r.ParityBytes = found.Parity, found.ParityBytes
	r.Odd, r.Leftover, r.Aside = found.Odd, found.Leftover, found.Aside
}

// missing reports packs that the index lists and that are missing. If a prune deleted a condemned pack, no snapshot
// needs it. If one does need it, the pack counts as missing like any other.
func (c *checker) missing(s *sight) {
	for id := range s.missing {
		if c.report.packErrs[id] == nil && !c.report.mendable[id] {
			c.packFailed(id, errMissing)
		}
	}
	pruned := 0
	for id := range s.tables {
		if _, ok := s.packs[id]; !ok && s.condemned[id] {
			pruned++
			c.report.packErrs[id] = fmt.Errorf("%s: %w: a prune has deleted it", layout.PackName(id), errMissing)
		}
	}
	if pruned > 0 {
		c.note("packs that a prune deleted, and that are still in the index: %d; the prune was interrupted, or is running: run 'platter prune' again", pruned)
	}
}

// settle looks again to explain packs that were missing when they were read.
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
			c.packFailed(id, errors.New("it is listed, but reading it fails as if it did not exist"))
		}
	}
	c.use(now)
	c.missing(now)
	return now, nil
}

// note reports an oddity that is not damage.
func (c *checker) note(format string, args ...any) { c.notes([]string{fmt.Sprintf(format, args...)}) }

func (c *checker) notes(notes []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report.Notes = append(c.report.Notes, notes...)
}
