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

// PruneOptions control Prune.
type PruneOptions struct {
	MaxUnused float64 // share of the packs' bytes that may stay unused; above it, packs are repacked
	MaxRepack int64   // maximum bytes to copy
	// Without are snapshots that a dry run treats as forgotten, to show what would be deleted with them.
	Without []pack.FileID
	// Lag is how old a listing may be, on any machine that uses the store. If it is negative, Prune asks the store.
	// Then it assumes a minute if another machine has left a lease, a marker or a snapshot. The error wraps
	// ErrUnknownLag if the store cannot tell.
	Lag time.Duration
	// Wait waits for a duration, or until the context ends. Nil uses time.Timer; tests have their own clock.
	Wait func(context.Context, time.Duration) error
	// Waiting, which may be nil, is called before each wait with its duration.
	Waiting func(time.Duration)
	// Sure continues although the repository suggests that snapshots are missing: other snapshots name them, or there
	// are packs and no snapshots. It does not continue if this machine has seen the missing snapshots; see Accept.
	Sure bool
}

// Amount counts packs and the bytes of their files.
type Amount struct {
	Packs int   `json:"packs"`
	Bytes int64 `json:"bytes"`
}

func (a *Amount) add(bytes int64) { a.Packs, a.Bytes = a.Packs+1, a.Bytes+bytes }

// Pruned is what Prune did, or would do in a dry run.
type Pruned struct {
	Before   Amount   `json:"before"`
	Deleted  Amount   `json:"deleted"`         // including the repacked ones
	Repacked Amount   `json:"repacked"`        // their needed chunks were copied into new packs
	Copied   int64    `json:"copied"`          // bytes of the new packs
	Pending  Amount   `json:"pending"`         // to be deleted by a later prune, because other processes are at work
	Unused   int64    `json:"unused"`          // approximate bytes that stay although no snapshot needs them
	After    Amount   `json:"after"`           //
	AtWork   []Lease  `json:"at_work"`         // processes that keep condemned packs from being deleted
	Upgraded bool     `json:"upgraded"`        // nothing was deleted: older versions without leases may be at work
	Missing  int      `json:"missing"`         // chunks that snapshots need and that no index file lists
	Lost     int      `json:"lost"`            // missing packs that snapshots need
	Full     bool     `json:"full"`            // there was too little room to copy everything
	Aside    []string `json:"aside,omitempty"` // snapshots kept aside that may need anything: nothing was deleted
	Notes    []string `json:"notes,omitempty"` // what else was deleted
}

// A MarkFunc marks all chunks that some snapshots need. It also reports snapshots that are missing when read
// (Marks.Missing), and which version came before each (Marks.After).
type MarkFunc func(ctx context.Context, snapshots []pack.FileID, m *Marks) error

// Prune deletes packs that no snapshot needs. From packs that are mostly unused, it copies the needed chunks first.
//
// If snapshots seem to be missing rather than forgotten, the error wraps ErrUnaccounted and nothing is deleted.
//
// Prune waits for no process, and no process waits for it. It first puts markers that announce what it is going to
// delete. It deletes once every process at work has acknowledged them or ended, which may be in the next Prune. Prune
// can be interrupted at any point without loss and run again. docs/leases.md has the argument.
func (r *Repo) Prune(ctx context.Context, o PruneOptions, mark MarkFunc, p *Progress) (done *Pruned, err error) {
	r.dropBlocks()
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

// hintFull names what can be spared: a parity file can be made again, and nothing builds on it.
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

// A pruner is a running Prune.
type pruner struct {
	repo     *Repo
	opts     PruneOptions
	mark     MarkFunc
	progress *Progress
	done     *Pruned
	found    *lease.State // the state when the lease was taken; nil in a dry run

	copy      bool                 // there may be room to copy
	snapshots map[pack.FileID]bool // those that the marks cover
	known     map[pack.FileID]bool // snapshots that any look has found
	given     []pack.FileID        // missing snapshots that were given up
	marks     *Marks
	condemned map[pack.FileID]bool // packs that markers condemn
	there     map[pack.FileID]bool // packs that were present at first
	lag       time.Duration        // how old listings may be on any machine
}

// run prunes once. If a full store kept it from copying, it prunes again with the room it made. Finally, it deletes the
// copies that turned out to be unnecessary.
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
		return nil // the next prune does it
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

// first records what is there before the prune.
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

// look marks what all current snapshots need. It lists them first and reads the index after that.
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

// choose returns the packs to repack.
func (p *pruner) choose(s *scan) []*use {
	if !p.copy {
		return nil
	}
	damaged := p.found.Damaged()
	return s.worthRepacking(p.opts.MaxUnused, p.opts.MaxRepack, p.repo.config.PackSize/4, func(u *use) bool { return u.unlisted || damaged[u.id] })
}

// foretell fills in the result of a dry run.
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

// summarize counts what is there after the prune.
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

// isFull reports whether something failed only because the store is full.
func isFull(err error) bool { return errors.Is(err, store.ErrFull) }
