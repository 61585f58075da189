package repo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"platter/chunk"
	"platter/index"
	"platter/pack"
	"platter/repo/layout"
	"platter/repo/lease"
	"platter/repo/store"
)

// A PackDamage is a pack that is missing, or whose bytes do not match its name.
type PackDamage struct {
	ID     pack.FileID
	Why    error  // begins with the file's name
	Mended string // how it was mended, once it is whole again

	size   int64       // length that the file should have, in bytes; 0 if no index file says
	there  int64       // length that it has, in bytes; -1 if it is missing
	listed bool        // in an index file
	table  *pack.Table // nil if its contents are unknown
}

// Name returns the pack's name in the store.
func (b *PackDamage) Name() string { return layout.PackName(b.ID) }

// A Damage is what is wrong with a repository's packs, and which chunks that costs. Its methods are for one goroutine,
// except Lost, Wanted and Why.
type Damage struct {
	Packs []*PackDamage // sorted by name; includes packs mended since
	// Missing are chunks that snapshots need and that no index file lists. A caller that knows of such chunks adds
	// them.
	Missing map[chunk.ID]chunk.Kind

	repo     *Repo
	work     *lease.State
	bad      map[pack.FileID]*PackDamage // those that are not mended
	readable map[chunk.ID]bool           // chunks that damaged packs can still supply
	adopted  []index.PackTable           // packs that were mended and that no index file lists yet
}

// FindDamage looks for packs that are missing, have another length than the index says, or do not match their names.
// For names, it reads all packs, or only those that damage markers name. LoadIndex must come first; from then on the
// index builds on none of the damaged packs. To mend them or to store anything, the caller must hold a lease since
// before LoadIndex.
//
// A pack counts as damaged if two reads fail although the store answers other requests, or if two reads return wrong
// bytes.
func (r *Repo) FindDamage(ctx context.Context, readAll bool, p *Progress) (*Damage, error) {
	r.dropBlocks()
	files, err := layout.List(ctx, r.view().store, layout.Packs)
	if err != nil {
		return nil, err
	}
	w, err := r.leases.Read(ctx)
	if err != nil {
		return nil, err
	}
	d := &Damage{repo: r, work: w, bad: map[pack.FileID]*PackDamage{}}
	missing, err := d.compare(ctx, files, readAll, p)
	if err != nil {
		return nil, err
	}
	for _, known := range missing {
		if err := d.confirmMissing(ctx, known); err != nil {
			return nil, err
		}
	}
	d.Packs = slices.SortedFunc(maps.Values(d.bad), func(a, b *PackDamage) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	if err := d.readTables(ctx); err != nil {
		return nil, err
	}
	d.trust(slices.Collect(maps.Keys(w.Damaged())))
	r.view().index.Suspend(slices.Collect(maps.Keys(d.bad)))
	return d, nil
}

// compare compares the packs that are present with the index and with their names, and returns those that are missing.
func (d *Damage) compare(ctx context.Context, files []layout.File, readAll bool, p *Progress) (missing map[pack.FileID]index.Pack, err error) {
	missing = map[pack.FileID]index.Pack{}
	for _, known := range d.repo.view().index.Packs() {
		missing[known.ID] = known
	}
	suspect := d.work.Damaged()
	var mu sync.Mutex
	add := func(b *PackDamage, why error) {
		mu.Lock()
		defer mu.Unlock()
		b.Why = fmt.Errorf("%s: %w", b.Name(), why)
		d.bad[b.ID] = b
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(d.repo.workers)
	for _, f := range files {
		known, ok := missing[f.ID]
		delete(missing, f.ID)
		b := &PackDamage{ID: f.ID, size: known.Size, there: f.Size, listed: ok}
		if ok && f.Size != known.Size {
			if err := d.repo.confirmLength(ctx, known); err != nil {
				return nil, errors.Join(err, g.Wait())
			}
			add(b, fmt.Errorf("%w: %d bytes, but the index says %d", pack.ErrDamaged, f.Size, known.Size))
			continue
		}
		if !readAll && !suspect[f.ID] {
			continue
		}
		p.Expect(f.Size)
		g.Go(func() error {
			why, err := d.repo.twice(gctx, layout.PackName(f.ID), func() error {
				return layout.Verify(gctx, d.repo.view().store, layout.PackName(f.ID), f.ID, nil)
			})
			p.Add(f.Size)
			if why != nil && err == nil {
				add(b, why)
			}
			return err
		})
	}
	return missing, g.Wait()
}

// confirmMissing adds a pack that no listing showed. If the pack exists all the same, it is not damaged, but the
// listing cannot be trusted, so that is an error.
func (d *Damage) confirmMissing(ctx context.Context, known index.Pack) error {
	b := &PackDamage{ID: known.ID, size: known.Size, there: -1, listed: true}
	b.Why = fmt.Errorf("%s: %w", b.Name(), errMissing)
	_, err := d.repo.view().store.Get(ctx, b.Name(), 0, 1)
	if err == nil {
		return fmt.Errorf("the store does not list %s, but has it: try again when its listings are up to date", b.Name())
	}
	if !layout.IsMissing(err) {
		return err
	}
	d.bad[b.ID] = b
	return nil
}

// confirmLength returns an error if a pack has the length that the index says, although the listing shows another one.
func (r *Repo) confirmLength(ctx context.Context, known index.Pack) error {
	end, err := r.view().store.Get(ctx, layout.PackName(known.ID), max(0, known.Size-1), 2)
	if err == nil && len(end) == 1 {
		return fmt.Errorf("the store lists %s with a wrong length: try again when its listings are up to date", layout.PackName(known.ID))
	}
	return ctx.Err()
}

var errMissing = errors.New("it is missing")

// steady distinguishes an unreadable file from a store that does not answer. If a read fails with an error that may be
// temporary, steady checks that the store answers another request, and then reads again. bad is the file's fault; err
// ends the work.
func (r *Repo) steady(ctx context.Context, read func() error) (bad, err error) {
	bad = read()
	if bad != nil && !layout.IsPermanent(bad) && ctx.Err() == nil {
		if _, err := r.view().store.Get(ctx, layout.Config, 0, 1); err != nil && !layout.IsMissing(err) {
			return nil, err
		}
		bad = read()
	}
	return bad, ctx.Err()
}

// twice is steady, but it reads a damaged file again and bypasses this machine's page cache. The cause may be a cable
// or memory and not the file.
func (r *Repo) twice(ctx context.Context, name string, read func() error) (bad, err error) {
	if bad, err = r.steady(ctx, read); errors.Is(bad, pack.ErrDamaged) && err == nil {
		store.Drop(r.view().store, name)
		bad, err = r.steady(ctx, read)
	}
	return bad, err
}

// readTables finds out what the damaged packs hold, from index files or from the packs themselves.
func (d *Damage) readTables(ctx context.Context) error {
	const tries = 3 // another process may replace several index files by one meanwhile
	for try := 1; len(d.bad) > 0; try++ {
		files, err := layout.List(ctx, d.repo.view().store, layout.Index)
		if err != nil {
			return err
		}
		var mu sync.Mutex
		err = d.repo.eachIndex(ctx, files, func(_ pack.FileID, f *index.File) error {
			mu.Lock()
			defer mu.Unlock()
			for _, t := range f.Packs {
				if b := d.bad[t.ID]; b != nil {
					b.size, b.table = t.Size, t.Table
				}
			}
			return nil
		})
		if err == nil {
			break
		}
		if !layout.IsMissing(err) || try == tries {
			return err
		}
	}
	for _, b := range d.bad {
		if b.table == nil && b.there > 0 {
			b.table, _ = d.repo.readTable(ctx, b.ID, b.there) // an error here is part of the damage
		}
	}
	return ctx.Err()
}

// trust makes the index build again on packs that are whole, unless they are condemned.
func (d *Damage) trust(packs []pack.FileID) {
	condemned := d.work.Condemned()
	d.repo.view().index.Resume(slices.DeleteFunc(packs, func(id pack.FileID) bool { return condemned[id] || d.bad[id] != nil }))
}
