package repo

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"platter/pack"
	"platter/repo/layout"
	"platter/repo/lease"
	"platter/repo/store"
)

// announce puts markers for the packs to be deleted, unless an earlier marker names them.
func (p *pruner) announce(ctx context.Context, going map[pack.FileID]*use) error {
	before := p.found.Condemned()
	p.condemned = maps.Clone(before)
	var fresh []pack.FileID
	for id, u := range going {
		if !u.missing { // missing packs need no marker
			p.condemned[id] = true
		}
		if !u.missing && !before[id] {
			fresh = append(fresh, id)
		}
	}
	if err := p.repo.leases.Mark(ctx, fresh, false); err != nil {
		return fmt.Errorf("put a deletion marker: %w", err)
	}
	return nil
}

// ripe returns the markers that every process at work has acknowledged, and the packs that they condemn.
func (p *pruner) ripe(ctx context.Context) (markers []pack.FileID, condemned map[pack.FileID]bool, err error) {
	// A machine that looked for markers before ours became visible has put a lease by then. Its lease becomes visible
	// after twice the lag.
	p.lag = p.lagOfAll(p.found)
	if err := p.waitLag(ctx, 2); err != nil {
		return nil, nil, err
	}
	// Pending files are listed first. So each of them belongs to a lease that the later listing shows, or to one that
	// ended or expired.
	pending, err := layout.List(ctx, p.repo.view().store, layout.Pending)
	if err != nil {
		return nil, nil, err
	}
	w, now, err := p.repo.leases.Now(ctx)
	if err != nil {
		return nil, nil, err
	}
	if err := p.repo.leases.Redate(ctx, w, now); err != nil { // what their holders may need stays
		p.note("a lease is dated in the future, and could not be touched: %v", err)
	}
	live, ended, err := p.repo.leases.EndExpired(ctx, w, pending, now)
	p.done.Notes = append(p.done.Notes, ended...)
	if err == nil {
		err = p.sweep(ctx, now)
	}
	if err != nil {
		return nil, nil, err
	}
	p.done.AtWork, condemned = []Lease{}, map[pack.FileID]bool{}
	waited := map[pack.FileID]bool{}
	for _, id := range w.MarkerIDs() {
		if w.Markers[id].Value.Damaged {
			continue
		}
		ripe := true
		for holder, l := range live {
			if l.Work.Builds() && !w.Acknowledges(holder, id) {
				if ripe = false; !waited[holder] {
					waited[holder] = true
					p.done.AtWork = append(p.done.AtWork, l)
				}
			}
		}
		if ripe {
			markers = append(markers, id)
			for _, packID := range w.Markers[id].Value.Packs {
				condemned[packID] = true
			}
		}
	}
	// Then this prune also sees what processes put that ended since.
	return markers, condemned, p.waitLag(ctx, 1)
}

// waitLag waits until every listing shows what was done before.
func (p *pruner) waitLag(ctx context.Context, times int) error {
	if p.lag <= 0 {
		return ctx.Err()
	}
	d := time.Duration(times) * p.lag
	if p.opts.Waiting != nil {
		p.opts.Waiting(d)
	}
	return p.opts.Wait(ctx, d)
}

func (p *pruner) note(format string, args ...any) {
	p.done.Notes = append(p.done.Notes, fmt.Sprintf(format, args...))
}

// endMarkers deletes markers that have served their purpose. If listings lag, another machine may still see packs and
// index files that were just deleted. Then the marker of those packs stays until a later prune.
func (p *pruner) endMarkers(ctx context.Context, markers []pack.FileID, going map[pack.FileID]*use) error {
	for _, id := range markers {
		early := p.lag > 0 && slices.ContainsFunc(p.found.Markers[id].Value.Packs, func(id pack.FileID) bool {
			return p.there[id] && going[id] != nil
		})
		if _, before := p.found.Markers[id]; early || p.lag > 0 && !before {
			continue
		}
		if err := p.repo.leases.Unmark(ctx, id); err != nil {
			return fmt.Errorf("delete a marker: %w", err)
		}
	}
	return nil
}

// recordsKept is how long the records of forgotten snapshots are kept.
const recordsKept = 366 * 24 * time.Hour

// sweep deletes unneeded files that are not packs.
func (p *pruner) sweep(ctx context.Context, now time.Time) error {
	if s, ok := store.As[store.Sweeper](p.repo.view().store); ok {
		n, bytes, err := s.Sweep(ctx, now.Add(-lease.ExpiresAfter))
		if n > 0 {
			p.note("%d files of %d bytes are left over from interrupted writes", n, bytes)
		}
		if err != nil {
			return err
		}
	}
	records, err := layout.List(ctx, p.repo.view().store, layout.Forgotten)
	if err != nil {
		return err
	}
	for _, f := range records {
		if now.Sub(f.Time) > recordsKept {
			if err := p.repo.view().store.Delete(ctx, layout.Name(layout.Forgotten, f.ID)); err != nil && !layout.IsMissing(err) {
				return err
			}
		}
	}
	return p.deleteVerdicts(ctx, now.Add(-time.Hour))
}

// readsForgotten reports whether a process reads a snapshot that no mark keeps. Such a snapshot was forgotten by a process
// that did not see the reader's lease. So nothing is deleted while it is read.
//
// The leases are listed after the snapshots were marked. A reader first puts its lease and then looks for the snapshot.
// Suppose that the snapshot was missing when it was to be marked. Then either this listing shows the lease, or the reader
// did not find the snapshot and reads nothing. A listing of snapshots would not do in place of the marks: a snapshot that
// it shows may be forgotten before it is marked.
func (p *pruner) readsForgotten(ctx context.Context) (bool, error) {
	w, now, err := p.repo.leases.Now(ctx)
	if err != nil {
		return false, err
	}
	found := false
	for _, l := range w.Leases {
		if p.repo.leases.Expired(l, now) {
			continue
		}
		if slices.ContainsFunc(l.Value.Reads, func(id pack.FileID) bool { return !p.snapshots[id] || slices.Contains(p.marks.missingWhenRead, id) }) {
			p.done.AtWork, found = append(p.done.AtWork, l.Value), true
		}
	}
	return found, nil
}
