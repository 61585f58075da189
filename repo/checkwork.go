package repo

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"platter/pack"
)

const (
	hintWork   = "run 'platter prune': it clears away leases and plans that cannot be read"
	hintRecord = "a damaged record of what was forgotten can be deleted; machines that do not know of it then ask where those versions are"
)

// work looks at what others have left behind in the folders of work under way.
func (c *checker) work(ctx context.Context, s *sight) error {
	for _, err := range s.work.bad {
		c.damage(err)
		c.hint(hintWork)
	}
	var now time.Time
	for id, l := range s.work.leases {
		if now.IsZero() {
			now = c.storeTime(ctx, s)
		}
		name, since := fileName(workDir, id), l.says.Time.Local().Format(time.DateTime)
		switch silent := now.Sub(l.time); {
		case silent >= leaseExpires:
			c.note("%s: the %s by %s since %s was not heard of for %v; it is dead, or cut off. 'platter prune' clears its lease away",
				name, l.says.Work, l.says.Host, since, silent.Round(time.Minute))
		case c.isDead(l.says):
			c.note("%s: the %s by %s since %s ended without a word; 'platter prune' clears its lease away", name, l.says.Work, l.says.Host, since)
		}
	}
	return c.pending(ctx, s)
}

// pending notes snapshots and index files about to be whose maker is not there any more. They are listed again, after the leases were
// read: a backup that has ended moved its own meanwhile.
func (c *checker) pending(ctx context.Context, s *sight) error {
	var alone []pack.ID
	for _, id := range s.pending {
		if _, ok := s.work.leases[id]; !ok {
			alone = append(alone, id)
		}
	}
	if len(alone) == 0 {
		return nil
	}
	w, err := c.readWork(ctx)
	if err != nil {
		return err
	}
	files, err := list(ctx, c.store, pendingDir)
	if err != nil {
		return err
	}
	for _, f := range files {
		if _, ok := w.leases[f.id]; !ok && slices.Contains(alone, f.id) {
			c.note("%s: a snapshot or index file that was never committed, of work that is over; 'platter prune' clears it away", fileName(pendingDir, f.id))
		}
	}
	return nil
}

// storeTime tells what time it is by the store's clock: of a file that is touched, or, where nothing may be written, at
// least that of the newest file.
func (c *checker) storeTime(ctx context.Context, s *sight) time.Time {
	now := s.newest
	if c.opts.ReadOnly || c.dry || c.store.Touch(ctx, fileName(keysDir, c.slot)) != nil {
		return now
	}
	files, err := list(ctx, c.store, keysDir)
	if err != nil {
		return now
	}
	for _, f := range files {
		if f.id == c.slot && f.time.After(now) {
			now = f.time
		}
	}
	return now
}

// records reads the records of what was forgotten on purpose.
func (c *checker) records(ctx context.Context, s *sight) error {
	for _, id := range s.records {
		_, err := c.readRecord(ctx, id)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil && !gone(err) {
			c.damage(err)
			c.hint(hintRecord)
		}
	}
	return nil
}

// unmarshal reads JSON that was sealed.
func unmarshal(plain []byte, name string, into any) error {
	if err := json.Unmarshal(plain, into); err != nil {
		return fmt.Errorf("%s: %w: %w", name, pack.ErrDamaged, err)
	}
	return nil
}
