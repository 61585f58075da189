package repo

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"platter/pack"
	"platter/repo/layout"
)

// packDamage reports damage in a pack that is present. err's text begins with the pack's name.
func (c *checker) packDamage(id pack.FileID, err error) {
	c.damage(err)
	c.log.spoil(id)
	// A store that does not answer says nothing about the pack. A disk error for a sector does.
	if !errors.Is(err, pack.ErrDamaged) && !errors.Is(err, syscall.EIO) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.damagedPacks[id] = true
}

// noteMissing reports whether a listed pack is missing now. It records the pack for settle, which finds out why.
func (c *checker) noteMissing(id pack.FileID, err error) bool {
	if !layout.IsMissing(err) || errors.Is(err, errMissing) {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.missingWhenRead[id] = true
	return true
}

// noteDamage puts damage markers for damaged packs, so that nothing builds on them any more. Then backups store the
// chunks of those packs again, and old versions become whole again. It leaves out packs that are missing or whole by
// now. If markers cannot be put, the check still reports what it found.
func (c *checker) noteDamage(ctx context.Context, s *sight) error {
	if c.opts.ReadOnly || c.repo.dry {
		for id := range c.noted {
			if _, there := s.packs[id]; there {
				c.report.Earlier++
			}
		}
		return nil
	}
	var fresh, rest []pack.FileID
	for id := range c.damagedPacks {
		if _, there := s.packs[id]; there && !c.noted[id] {
			fresh = append(fresh, id)
		}
	}
	kept, struck := map[pack.FileID]bool{}, map[pack.FileID]bool{}
	var stale []pack.FileID // markers that name packs which are no longer damaged
	for _, markerID := range s.work.MarkerIDs() {
		p := s.work.Markers[markerID].Value
		if !p.Damaged {
			continue
		}
		var left []pack.FileID
		for _, id := range p.Packs {
			if _, there := s.packs[id]; there && !c.proved[id] {
				left, kept[id] = append(left, id), true
			} else {
				struck[id] = true
			}
		}
		if len(left) < len(p.Packs) {
			stale, rest = append(stale, markerID), append(rest, left...)
		}
	}
	err := c.repo.putDamaged(ctx, append(fresh, rest...))
	if err == nil {
		c.report.Noted, c.report.Earlier, c.report.Cleared = len(fresh), len(kept), len(struck)
		for _, id := range stale {
			if err = c.repo.leases.Unmark(ctx, id); err != nil {
				break
			}
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	c.report.Unnoted = err
	return nil
}

// putDamaged puts damage markers for packs.
func (r *Repo) putDamaged(ctx context.Context, packs []pack.FileID) error {
	if len(packs) == 0 {
		return nil
	}
	if err := r.writable(); err != nil {
		return err
	}
	if err := r.leases.Mark(ctx, packs, true); err != nil {
		return fmt.Errorf("record which packs are damaged: %w", err)
	}
	return nil
}
