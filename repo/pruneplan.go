package repo

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"platter/pack"
	"platter/repo/store"
)

// announce makes durable which packs are to go. Those that an earlier plan names are announced already.
func (p *pruner) announce(ctx context.Context, going map[pack.FileID]*use) error {
	before := p.lease.found.condemned()
	p.planned = maps.Clone(before)
	var fresh []pack.FileID
	for id, u := range going {
		if !u.gone { // what is not there needs no warning
			p.planned[id] = true
		}
		if !u.gone && !before[id] {
			fresh = append(fresh, id)
		}
	}
	slices.SortFunc(fresh, func(a, b pack.FileID) int { return slices.Compare(a[:], b[:]) })
	for part := range slices.Chunk(fresh, packsPerPlan) {
		host := p.lease.says.Host
		if _, err := p.putPlan(ctx, plan{Packs: part, Host: host, Time: p.now().UTC().Truncate(time.Second)}); err != nil {
			return fmt.Errorf("announce what is to go: %w", err)
		}
	}
	return nil
}

// ripe returns the plans that everybody at work knows of, and the packs that they condemn.
func (p *pruner) ripe(ctx context.Context) (plans []pack.FileID, condemned map[pack.FileID]bool, err error) {
	// A machine that looked for plans before ours was to be seen has put a lease that is to be seen after twice that time.
	p.lag = p.lagOfAll(p.lease.found)
	if err := p.waitLag(ctx, 2); err != nil {
		return nil, nil, err
	}
	// Pending files first: each that is shown belongs to a lease that is shown after it, or to one that is over.
	pending, err := list(ctx, p.store, pendingDir)
	if err != nil {
		return nil, nil, err
	}
	w, now, err := p.workNow(ctx)
	if err != nil {
		return nil, nil, err
	}
	if err := p.dateAnew(ctx, w, now); err != nil { // what their holders may need stays, as if they lived
		p.note("a lease is dated in the future, and could not be dated anew: %v", err)
	}
	live, err := p.living(ctx, w, pending, now)
	if err == nil {
		err = p.sweep(ctx, now)
	}
	if err != nil {
		return nil, nil, err
	}
	p.done.AtWork, condemned = []Lease{}, map[pack.FileID]bool{}
	waited := map[pack.FileID]bool{}
	for _, id := range w.planIDs() {
		if w.plans[id].says.Damaged {
			continue
		}
		ripe := true
		for lease, l := range live {
			if l.Work.builds() && !w.honours(lease, id) {
				if ripe = false; !waited[lease] {
					waited[lease] = true
					p.done.AtWork = append(p.done.AtWork, l)
				}
			}
		}
		if ripe {
			plans = append(plans, id)
			for _, packID := range w.plans[id].says.Packs {
				condemned[packID] = true
			}
		}
	}
	// And what those have put who are gone is to be seen, too.
	return plans, condemned, p.waitLag(ctx, 1)
}

// waitLag waits until what was done before is to be seen in every listing.
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

// workNow lists who is at work, and tells what time it is by the store's clock.
func (p *pruner) workNow(ctx context.Context) (*workplace, time.Time, error) {
	if err := p.store.Touch(ctx, fileName(workDir, p.lease.id)); gone(err) {
		return nil, time.Time{}, ErrLeaseLost
	} else if err != nil {
		return nil, time.Time{}, err
	}
	w, err := p.readWorkNow(ctx)
	if err != nil {
		return nil, time.Time{}, err
	}
	own, ok := w.leases[p.lease.id]
	if !ok {
		return nil, time.Time{}, ErrLeaseLost
	}
	return w, own.time, nil
}

// living returns the leases of others who may be alive, and breaks those of the dead: first the lease is deleted, then what
// they may be about to commit. See Repo.commit.
func (p *pruner) living(ctx context.Context, w *workplace, pending []listed, now time.Time) (map[pack.FileID]Lease, error) {
	live := map[pack.FileID]Lease{}
	for id, l := range w.leases {
		if id == p.lease.id {
			continue
		}
		if !p.over(l, now) {
			live[id] = l.says
			continue
		}
		if err := p.breakLease(ctx, id); err != nil {
			return nil, err
		}
		p.note("the %s that %s began at %s never ended", l.says.Work, l.says.Host, l.says.Time.Local().Format(time.DateTime))
	}
	// A file that cannot be read may be the lease of somebody who is at work, and who touches it then.
	for id := range w.bad {
		if now.Sub(w.times[id]) < leaseExpires {
			live[id] = Lease{Work: "something that cannot be read", Host: fileName(workDir, id)}
			continue
		}
		if err := p.breakLease(ctx, id); err != nil {
			return nil, err
		}
		p.note("%s could not be read", fileName(workDir, id))
	}
	for id, vow := range w.vows {
		if _, ok := live[*vow.Of]; !ok && *vow.Of != p.lease.id {
			p.dropLease(ctx, id)
		}
	}
	for _, f := range pending {
		_, broken := w.leases[f.id]
		if _, ok := live[f.id]; !ok && !broken && f.id != p.lease.id {
			if err := p.store.Delete(ctx, fileName(pendingDir, f.id)); err != nil && !gone(err) {
				return nil, err
			}
		}
	}
	return live, nil
}

func (p *pruner) note(format string, args ...any) {
	p.done.Notes = append(p.done.Notes, fmt.Sprintf(format, args...))
}

func (p *pruner) breakLease(ctx context.Context, id pack.FileID) error {
	for _, name := range []string{fileName(workDir, id), fileName(pendingDir, id)} {
		if err := p.store.Delete(ctx, name); err != nil && !gone(err) {
			return fmt.Errorf("end the lease of somebody who is gone: %w", err)
		}
	}
	return nil
}

// endPlans removes plans that have done their duty. Where listings lag, a machine may still see packs and index files that
// were deleted just now: a plan of those is left to a later prune.
func (p *pruner) endPlans(ctx context.Context, plans []pack.FileID, going map[pack.FileID]*use) error {
	for _, id := range plans {
		early := p.lag > 0 && slices.ContainsFunc(p.lease.found.plans[id].says.Packs, func(id pack.FileID) bool {
			return p.there[id] && going[id] != nil
		})
		if _, before := p.lease.found.plans[id]; early || p.lag > 0 && !before {
			continue
		}
		if err := p.store.Delete(ctx, fileName(workDir, id)); err != nil && !gone(err) {
			return fmt.Errorf("end a plan: %w", err)
		}
	}
	return nil
}

// recordsKept is how long it is remembered which snapshots were forgotten on purpose.
const recordsKept = 366 * 24 * time.Hour

// sweep clears away what nobody needs any more and what is no pack.
func (p *pruner) sweep(ctx context.Context, now time.Time) error {
	if s, ok := store.As[store.Sweeper](p.store); ok {
		n, bytes, err := s.Sweep(ctx, now.Add(-leaseExpires))
		if n > 0 {
			p.note("%d files of %d bytes were left behind by writes that did not end", n, bytes)
		}
		if err != nil {
			return err
		}
	}
	records, err := list(ctx, p.store, forgottenDir)
	if err != nil {
		return err
	}
	for _, f := range records {
		if now.Sub(f.time) > recordsKept {
			if err := p.store.Delete(ctx, fileName(forgottenDir, f.id)); err != nil && !gone(err) {
				return err
			}
		}
	}
	return nil
}
