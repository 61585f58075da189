package repo

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"platter/pack"
	"platter/repo/layout"
	"platter/repo/lease"
)

const (
	hintWork    = "run 'platter prune': it removes unreadable leases and deletion markers"
	hintRecord  = "a damaged record of what was forgotten can be deleted; machines that do not know of it then ask where those versions are"
	hintVerdict = "run 'platter prune': it deletes damaged results of tests; 'platter boot --check' tests a version again"
)

// work checks what processes left behind in the work directory and in pending/.
func (c *checker) work(ctx context.Context, s *sight) error {
	for _, err := range s.work.Unreadable {
		c.damage(err.Value)
		c.hint(hintWork)
	}
	var now time.Time
	for id, l := range s.work.Leases {
		if now.IsZero() {
			now = c.storeTime(ctx, s)
		}
		name, since := layout.Name(layout.Work, id), l.Value.Time.Local().Format(time.DateTime)
		switch silent := now.Sub(l.Time); {
		case silent >= lease.ExpiresAfter:
			c.note("%s: the %s by %s since %s has been silent for %v; it is dead, or cut off. 'platter prune' removes its lease",
				name, l.Value.Work, l.Value.Host, since, silent.Round(time.Minute))
		case silent < -lease.TouchEvery:
			c.note("%s: the %s by %s since %s has a lease dated %v in the future, by the store's clock; 'platter prune' sets it to now, and removes it half an hour after that",
				name, l.Value.Work, l.Value.Host, since, -silent.Round(time.Minute))
		case c.repo.isDead(l.Value):
			c.note("%s: the %s by %s since %s died; 'platter prune' removes its lease", name, l.Value.Work, l.Value.Host, since)
		}
	}
	return c.leftWork(ctx, s)
}

// leftWork reports pending files and acknowledgements whose lease is missing. It lists them again after the leases were
// read: a backup that ended meanwhile deleted its own.
func (c *checker) leftWork(ctx context.Context, s *sight) error {
	pending, acks := map[pack.FileID]bool{}, map[pack.FileID]bool{}
	for _, id := range s.pending {
		if s.work.Misses(id) {
			pending[id] = true
		}
	}
	for id, ack := range s.work.Acknowledgements {
		if s.work.Misses(*ack.Of) {
			acks[id] = true
		}
	}
	if len(pending)+len(acks) == 0 {
		return nil
	}
	w, err := c.repo.leases.Read(ctx)
	if err != nil {
		return err
	}
	files, err := layout.List(ctx, c.repo.view().store, layout.Pending)
	if err != nil {
		return err
	}
	var never, left cappedNames
	for _, f := range files {
		if pending[f.ID] && w.Misses(f.ID) {
			never.add(layout.Name(layout.Pending, f.ID))
		}
	}
	for id, ack := range w.Acknowledgements {
		if acks[id] && w.Misses(*ack.Of) {
			left.add(layout.Name(layout.Work, id))
		}
	}
	c.notes(never.notes("%s: a snapshot or index file that was never committed, and its process has ended; 'platter prune' removes it"))
	c.notes(left.notes("%s: the second file of a lease that has ended; 'platter prune' removes it"))
	return nil
}

// storeTime returns the time by the store's clock, from a lease put for that purpose. If nothing may be written, it
// returns the time of the newest file, unless a file is dated in the future.
func (c *checker) storeTime(ctx context.Context, s *sight) time.Time {
	if c.opts.ReadOnly || c.repo.dry || c.repo.writable() != nil {
		return s.newest
	}
	o, err := c.repo.leases.Observe(ctx, Checking)
	if err != nil {
		return s.newest
	}
	defer o.Close(ctx)
	if t := o.Time(ctx); !t.IsZero() {
		return t
	}
	return s.newest
}

// records reads the records of forgotten snapshots.
func (c *checker) records(ctx context.Context, s *sight) error {
	for _, id := range s.records {
		_, err := c.repo.readRecord(ctx, id)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil && !layout.IsMissing(err) {
			c.damage(err)
			c.hint(hintRecord)
		}
	}
	return nil
}

// verdicts reads the results of tests.
func (c *checker) verdicts(ctx context.Context, s *sight) error {
	for _, id := range s.verdicts {
		_, err := c.repo.readVerdict(ctx, id)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil && !layout.IsMissing(err) {
			c.damage(err)
			c.hint(hintVerdict)
		}
	}
	return nil
}

// unmarshal decodes JSON that was sealed.
func unmarshal(plain []byte, name string, into any) error {
	if err := json.Unmarshal(plain, into); err != nil {
		return fmt.Errorf("%s: %w: %w", name, pack.ErrDamaged, err)
	}
	return nil
}
