package repo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"platter/pack"
	"platter/repo/layout"
	"platter/repo/store"
)

// accounted returns the snapshots to work with: the listed ones, and those that exist although the listing does not
// show them. The error is an *UnaccountedError if a snapshot is missing that this machine has seen or that an earlier
// look found.
//
// A prune deletes what no snapshot needs, so it assumes that it sees all snapshots. If a folder was lost, moved away or
// only half copied, the prune would delete data that could be restored.
func (p *pruner) accounted(ctx context.Context, listed []pack.FileID) (all []pack.FileID, err error) {
	there := setOf(listed)
	unlisted := map[pack.FileID]*Seen{} // nil for snapshots that only an earlier look found
	for id := range p.known {
		if !there[id] {
			unlisted[id] = nil
		}
	}
	for _, v := range p.repo.recallSeen().Versions {
		if !there[v.ID] {
			unlisted[v.ID] = &v
		}
	}
	f, err := p.lateFates(ctx, slices.Collect(maps.Keys(unlisted)))
	if err != nil {
		return nil, err
	}
	if len(f.missing) > 0 {
		missing := new(UnaccountedError)
		for _, id := range f.missing {
			if v := unlisted[id]; v != nil {
				missing.Seen = append(missing.Seen, *v)
			} else {
				missing.Here = append(missing.Here, id)
			}
		}
		slices.SortFunc(missing.Seen, latestFirst)
		return nil, missing
	}
	all = slices.Concat(listed, f.there)
	for _, id := range all {
		p.known[id] = true
	}
	return all, nil
}

// lateFates is fates with fresh records: another machine may have just recorded what it forgot. If the store cannot
// show such records at once, lateFates looks again if it must.
func (p *pruner) lateFates(ctx context.Context, ids []pack.FileID) (f fates, err error) {
	if len(ids) == 0 {
		return f, nil
	}
	if err := store.Refresh(ctx, p.repo.view().store, layout.Forgotten); err != nil {
		return f, err
	}
	f, err = p.repo.fates(ctx, ids)
	if err == nil && len(f.missing) > 0 && p.repo.storeLag().Unknown != "" {
		if err := p.opts.Wait(ctx, p.repo.listingAge()); err != nil {
			return f, err
		}
		var late fates
		late, err = p.repo.fates(ctx, f.missing)
		f = fates{append(f.forgotten, late.forgotten...), append(f.there, late.there...), late.missing, late.failed}
	}
	if err == nil && f.failed != nil {
		err = fmt.Errorf("a snapshot is in no listing, and cannot be read: %w; it is unknown which data it needs, so nothing is deleted", f.failed)
	}
	return f, err
}

// markAll marks what snapshots need, and accounts for missing snapshots that only other snapshots name.
func (p *pruner) markAll(ctx context.Context, ids []pack.FileID) error {
	p.marks, p.snapshots = newMarks(p.repo.view().index), map[pack.FileID]bool{}
	if err := p.noneLeft(ctx); err != nil {
		return err
	}
	for len(ids) > 0 {
		for _, id := range ids {
			p.snapshots[id] = true
		}
		if err := p.mark(ctx, ids, p.marks); err != nil {
			return err
		}
		if err := p.missingWhenRead(ctx); err != nil {
			return err
		}
		var err error
		if ids, err = p.before(ctx); err != nil {
			return err
		}
	}
	return nil
}

// errCameBack says that a snapshot was put back during the search for it.
var errCameBack = errors.New("it was missing a moment ago and has reappeared: run this again")

// missingWhenRead returns an error unless all snapshots that were missing when they were read were forgotten.
func (p *pruner) missingWhenRead(ctx context.Context) error {
	f, err := p.lateFates(ctx, p.marks.missingWhenRead)
	switch {
	case err != nil:
		return err
	case len(f.missing) > 0:
		return &UnaccountedError{Here: f.missing}
	case len(f.there) > 0:
		return fmt.Errorf("%s: %w", SnapshotName(f.there[0]), errCameBack)
	}
	return nil
}

// kinYoung is the maximum age of a snapshot that may witness that the version before it existed. If that version was
// forgotten later, its record still exists.
const kinYoung = recordsKept - 60*24*time.Hour

// before returns snapshots that others name as the version before them, and that exist although no listing shows them.
// The error is an *UnaccountedError if one is missing.
func (p *pruner) before(ctx context.Context) ([]pack.FileID, error) {
	since := p.repo.now().Add(-kinYoung)
	passed := setOf(append(p.repo.recallSeen().Accepted, p.given...))
	if p.repo.dry {
		for _, id := range p.opts.Without {
			passed[id] = true
		}
	}
	var ids []pack.FileID
	by := map[pack.FileID][]pack.FileID{}
	for _, k := range p.marks.kin {
		if p.snapshots[k.before] || passed[k.before] {
			continue
		}
		if by[k.before] == nil {
			ids = append(ids, k.before)
		}
		by[k.before] = append(by[k.before], k.of)
	}
	f, err := p.lateFates(ctx, ids)
	if err != nil || len(f.missing) == 0 {
		return f.there, err
	}
	files, err := layout.List(ctx, p.repo.view().store, layout.Snapshots)
	if err != nil {
		return nil, err
	}
	young := map[pack.FileID]bool{} // by the store's clock: --time can set the time of a snapshot to any value
	for _, file := range files {
		young[file.ID] = !file.Time.Before(since)
	}
	missing := slices.DeleteFunc(f.missing, func(id pack.FileID) bool {
		return !slices.ContainsFunc(by[id], func(of pack.FileID) bool { return young[of] })
	})
	if len(missing) > 0 && !p.opts.Sure {
		return nil, &UnaccountedError{Before: missing}
	}
	return f.there, p.giveUp(ctx, missing)
}

// giveUp records snapshots as forgotten, so that the next prune need not ask.
func (p *pruner) giveUp(ctx context.Context, ids []pack.FileID) error {
	if len(ids) == 0 || p.repo.dry {
		return nil
	}
	p.given = append(p.given, ids...)
	p.note("snapshots that others name are missing, and are now recorded as forgotten: %s", shortIDs(ids))
	if err := p.repo.putRecord(ctx, ids, nil); err != nil && !isFull(err) {
		return err
	}
	return nil
}

// noneLeft returns an error if there are packs but no snapshots. It accepts that state if the latest record says that
// the last snapshot was forgotten and all packs are older than the record.
func (p *pruner) noneLeft(ctx context.Context) error {
	if p.opts.Sure || len(p.known) > 0 {
		return nil
	}
	packs, err := layout.List(ctx, p.repo.view().store, layout.Packs)
	if err != nil || len(packs) == 0 {
		return err
	}
	records, err := layout.List(ctx, p.repo.view().store, layout.Forgotten)
	if err != nil {
		return err
	}
	var latest time.Time
	for _, f := range records {
		if f.Time.After(latest) {
			latest = f.Time
		}
	}
	explained := false
	for _, f := range records {
		if !f.Time.Equal(latest) {
			continue
		}
		says, err := p.repo.readRecord(ctx, f.ID)
		if err != nil && !layout.IsPermanent(err) {
			return err
		}
		explained = explained || err == nil && says.Left != nil && *says.Left == 0
	}
	if !explained || slices.ContainsFunc(packs, func(f layout.File) bool { return f.Time.After(latest) }) {
		return new(UnaccountedError)
	}
	return nil
}

// explained returns an error if the prune would delete more than half of all bytes and no snapshot was ever forgotten.
// Then either backups did not finish, or snapshots are missing that only a machine which has seen them could name.
func (p *pruner) explained(ctx context.Context, going map[pack.FileID]*use) error {
	if p.opts.Sure || len(p.opts.Without) > 0 {
		return nil
	}
	var why UnaccountedError
	for _, u := range going {
		if !u.missing && !u.orphan && u.idle > 0 {
			why.Packs.add(u.idle * u.size / u.raw)
		}
	}
	if why.Packs.Packs == 0 {
		return nil
	}
	records, err := layout.List(ctx, p.repo.view().store, layout.Forgotten)
	if err != nil || len(records) > 0 {
		return err
	}
	if p.repo.dry {
		// A process at work may have stored these packs, and a real prune keeps them.
		if w, err := p.repo.leases.Read(ctx); err != nil || len(w.Leases) > 0 {
			return err
		}
	}
	packs, err := layout.List(ctx, p.repo.view().store, layout.Packs)
	if err != nil {
		return err
	}
	var all int64
	for _, f := range packs {
		all += f.Size
	}
	if 2*why.Packs.Bytes > all {
		return &why
	}
	return nil
}
