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
	"platter/repo/lease"
	"platter/repo/store"
)

// PruneOptions say how far Prune goes.
type PruneOptions struct {
	MaxUnused float64 // share of the packs' bytes that may stay unused; more is copied out of packs
	MaxRepack int64   // bytes to copy at most
	// Without are snapshots to be taken for forgotten, in a dry run only: what would go with them?
	Without []pack.FileID
	// Lag is how old what a listing shows may be, for any machine that uses the store. Less than 0 finds out: it asks the store, and
	// counts a minute where another machine has left a lease, a marker or a snapshot. The error wraps ErrUnknownLag where the store
	// cannot tell.
	Lag time.Duration
	// Wait waits so long, or until the context ends; nil for time.Timer. Tests have a clock of their own.
	Wait func(context.Context, time.Duration) error
	// Waiting, which may be nil, is told before each wait how long it takes.
	Waiting func(time.Duration)
	// Sure goes on where the repository itself suggests that snapshots are missing: others name them, or there are packs and
	// no snapshots. It does not where this machine has seen what is missing; see Accept.
	Sure bool
}

// Amount counts packs and the bytes of their files.
type Amount struct {
	Packs int   `json:"packs"`
	Bytes int64 `json:"bytes"`
}

func (a *Amount) add(bytes int64) { a.Packs, a.Bytes = a.Packs+1, a.Bytes+bytes }

// Pruned is what Prune did, or in a dry run would do.
type Pruned struct {
	Before   Amount   `json:"before"`
	Deleted  Amount   `json:"deleted"`         // of these some were repacked
	Repacked Amount   `json:"repacked"`        // whose needed chunks were copied into new packs
	Copied   int64    `json:"copied"`          // bytes of the new packs
	Pending  Amount   `json:"pending"`         // that go with a later prune, because somebody is at work
	Unused   int64    `json:"unused"`          // bytes that stay although nobody needs them, about
	After    Amount   `json:"after"`           //
	AtWork   []Lease  `json:"at_work"`         // on whose account some are pending
	Upgraded bool     `json:"upgraded"`        // older platters, which have no leases, may be at work: nothing was deleted
	Missing  int      `json:"missing"`         // chunks that snapshots need and that no index file lists
	Lost     int      `json:"lost"`            // packs that snapshots need and that are not there
	Full     bool     `json:"full"`            // there was no room to copy all that should have been
	Aside    []string `json:"aside,omitempty"` // files of snapshots kept aside that may need anything: on their account nothing was deleted
	Notes    []string `json:"notes,omitempty"` // what else was cleared away
}

// A MarkFunc marks all chunks that the snapshots of some names need. It tells the marks of snapshots that are not there when
// they are read (Missing), and which ones they say came before them (After).
type MarkFunc func(ctx context.Context, snapshots []pack.FileID, m *Marks) error

// Prune deletes packs of which no snapshot needs anything, and copies what is needed out of packs of which little is.
//
// The error wraps ErrUnaccounted, and nothing is deleted, where snapshots seem to be missing rather than forgotten.
//
// It waits for no process, and none waits for it. Markers first announce what is to go. It goes once every process at work has
// acknowledged them or ended, which may be with the next Prune. Interrupted at any point, it has lost nothing and is run again. docs/design.md has the argument.
func (r *Repo) Prune(ctx context.Context, o PruneOptions, mark MarkFunc, p *Progress) (done *Pruned, err error) {
	if o.Wait == nil {
		o.Wait = wait
	}
	if lag := r.storeLag(); o.Lag < 0 && lag.Unknown != "" && r.grace == nil && !r.dry {
		return nil, fmt.Errorf("prune: %w", &UnknownLagError{lag.Unknown})
	}
	err = r.WithLease(ctx, Pruning, func(ctx context.Context) error {
		_, found, _ := r.leases.Held()
		pr := &pruner{repo: r, found: found, opts: o, mark: mark, progress: p, done: &Pruned{AtWork: []Lease{}}, copy: true, known: map[pack.FileID]bool{}}
		if err := pr.run(ctx); err != nil {
			return fmt.Errorf("prune: %w", err)
		}
		done = pr.done
		return nil
	})
	if isFull(err) {
		err = fmt.Errorf("%w; %s", err, hintFull)
	}
	return done, err
}

// hintFull names what can be missed: a parity file is made again, and nothing is built upon it.
const hintFull = "before prune can make room it needs some, for two small files of a few KiB: delete something else there, or one of the " +
	"repository's parity files (packs/*/*.par), which 'platter parity add' makes again, and no other file of the repository"

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// A pruner is a Prune under way.
type pruner struct {
	repo     *Repo
	opts     PruneOptions
	mark     MarkFunc
	progress *Progress
	done     *Pruned
	found    *lease.State // when the lease was taken; nil in a dry run

	copy      bool                 // there may be room to copy
	snapshots map[pack.FileID]bool // that the marks are of
	known     map[pack.FileID]bool // snapshots that any look has found
	given     []pack.FileID        // snapshots that are missing, and were given up
	marks     *Marks
	condemned map[pack.FileID]bool // packs that markers condemn
	there     map[pack.FileID]bool // packs that were there at first
	lag       time.Duration        // how old what any machine lists may be
}

// run prunes once. Where a full store kept it from copying, it does so again with the room that it has made; and in the end
// it clears away what was copied in vain.
func (p *pruner) run(ctx context.Context) error {
	deleted, err := p.round(ctx, true)
	if err == nil && p.done.Full && deleted > 0 {
		p.done.Full, p.copy = false, true
		_, err = p.round(ctx, false)
	}
	if err != nil || !p.done.Full {
		return err
	}
	if _, err = p.round(ctx, false); isFull(err) {
		return nil // it is left to the next prune
	}
	return err
}

// round is one prune: choose, copy, announce, look again, delete. It returns how many packs it deleted.
func (p *pruner) round(ctx context.Context, first bool) (deleted int, err error) {
	if err := p.look(ctx); err != nil {
		return 0, err
	}
	s, err := p.repo.scanPacks(ctx, p.marks)
	if err != nil {
		return 0, err
	}
	if first {
		p.first(s)
	}
	p.done.Aside = nil
	for _, id := range p.marks.unsure {
		p.done.Aside = append(p.done.Aside, AsideName(id))
	}
	p.done.Missing, p.done.Lost = p.marks.missed(), 0
	for _, u := range s.packs {
		if u.missing && u.sole > 0 {
			p.done.Lost++
		}
	}
	going := s.dead()
	repacked := p.choose(s)
	if p.repo.dry {
		if err := p.explained(ctx, going); err != nil {
			return 0, err
		}
		p.foretell(s, going, repacked)
		return 0, nil
	}
	copied, err := p.repack(ctx, going, repacked)
	if err != nil {
		return 0, err
	}
	for _, u := range copied {
		going[u.id] = u
	}
	deleted, err = p.remove(ctx, going, len(copied) > 0)
	if err != nil {
		return deleted, err
	}
	return deleted, p.summarize(ctx)
}

// first takes stock of what is there.
func (p *pruner) first(s *scan) {
	p.there = map[pack.FileID]bool{}
	for id, u := range s.packs {
		if !u.missing {
			p.there[id] = true
			p.done.Before.add(u.size)
		}
	}
	for _, o := range p.repo.view().orphaned {
		if s.packs[o.ID] == nil {
			p.there[o.ID] = true
			p.done.Before.add(o.Size)
		}
	}
}

// look marks what all snapshots need that are there now. They are listed first, and the index is read after that.
func (p *pruner) look(ctx context.Context) error {
	ids, err := p.repo.listSnapshotsNow(ctx)
	if err != nil {
		return err
	}
	if ids, err = p.accounted(ctx, ids); err != nil {
		return err
	}
	if p.repo.dry {
		ids = without(ids, p.opts.Without)
	}
	if err := p.repo.LoadIndex(ctx); err != nil {
		return err
	}
	p.repo.view().index.Suspend(slices.Collect(maps.Keys(p.condemned)))
	return p.markAll(ctx, ids)
}

func without(ids, others []pack.FileID) []pack.FileID {
	out := map[pack.FileID]bool{}
	for _, id := range others {
		out[id] = true
	}
	return slices.DeleteFunc(ids, func(id pack.FileID) bool { return out[id] })
}

// choose returns the packs to be copied from.
func (p *pruner) choose(s *scan) []*use {
	if !p.copy {
		return nil
	}
	damaged := p.found.Damaged()
	return s.worthRepacking(p.opts.MaxUnused, p.opts.MaxRepack, p.repo.config.PackSize/4, func(u *use) bool { return u.unlisted || damaged[u.id] })
}

// foretell fills in what a dry run tells.
func (p *pruner) foretell(s *scan, going map[pack.FileID]*use, repacked []*use) {
	d := p.done
	d.After = d.Before
	for _, u := range going {
		if !u.missing {
			d.Deleted.add(u.size)
		}
	}
	for _, u := range repacked {
		d.Repacked.add(u.size)
		d.Deleted.add(u.size)
		d.Copied += u.size - u.unused()
		going[u.id] = u
	}
	for id, u := range s.packs {
		if going[id] == nil {
			d.Unused += u.unused()
		}
	}
	d.After.Packs -= d.Deleted.Packs
	d.After.Bytes -= d.Deleted.Bytes - d.Copied
}

// summarize looks at what is there now.
func (p *pruner) summarize(ctx context.Context) error {
	packs, err := layout.List(ctx, p.repo.view().store, layout.Packs)
	if err != nil {
		return err
	}
	p.done.After = Amount{}
	for _, f := range packs {
		p.done.After.add(f.Size)
	}
	return nil
}

// isFull reports whether something failed for want of room only.
func isFull(err error) bool { return errors.Is(err, store.ErrFull) }
