// Package heal mends what a repository has lost: packs from parity, copies and disks (RepairPacks), and versions of which not all can
// be had, as new versions of what is left (RepairSnapshots). Nothing is removed before what takes its place is durable.
package heal

import (
	"cmp"
	"context"
	"fmt"

	"platter/chunk"
	"platter/repo"
	"platter/snapshot"
	"platter/snapshot/backup"
	"platter/snapshot/image"
)

// A Holder is a disk that may still hold what a repository has lost, and what to call it.
type Holder struct {
	Name string
	Disk image.Disk
}

// MendOptions say where RepairPacks looks for what is damaged, and for what is lost.
type MendOptions struct {
	ReadAll bool // every pack is read; else only those that are missing, cut off, or known to be damaged
	Copies  []repo.Copy
	Disks   []Holder
	DryRun  bool // the repository was opened for one
}

// Mended is what RepairPacks did.
type Mended struct {
	Packs      []*repo.BadPack // all that were bad
	Found      []Found         // where chunks were looked for, in that order
	Losses     []snapshot.Loss // what snapshots lack after it; in a dry run, before it
	Lacking    int64           // chunks of those packs that were found nowhere; some may be needed by no snapshot
	Unreadable []error         // snapshot files that cannot be read: what they need is not known
}

// Found says what one source gave of what was wanted.
type Found struct {
	Name           string
	Wanted, Chunks int64
	Skipped        int64 // bytes of the source that could not be read
	Stopped        error // why not all of it was looked at
}

// RepairPacks mends packs that are missing or damaged: from their parity files, from copies of the repository, and, where a
// pack cannot be had whole, by storing what it held anew: what it still gives, what copies have, and what lies on disks. All
// of that is proved by its name or id. A damaged file is replaced by the whole pack, or stays as it is.
func RepairPacks(ctx context.Context, r *repo.Repo, o MendOptions, p *repo.Progress) (done *Mended, err error) {
	err = r.WithLease(ctx, repo.Repairing, func(ctx context.Context) error {
		m := &mending{repo: r, opts: o, progress: p, done: new(Mended)}
		if err := m.run(ctx); err != nil {
			return fmt.Errorf("repair packs: %w", err)
		}
		done = m.done
		return nil
	})
	return done, err
}

// A mending is a RepairPacks under way.
type mending struct {
	repo      *repo.Repo
	opts      MendOptions
	progress  *repo.Progress
	done      *Mended
	snapshots []*snapshot.Snapshot
	damage    *repo.Damage
}

func (m *mending) run(ctx context.Context) (err error) {
	if m.snapshots, m.done.Unreadable, err = snapshot.Load(ctx, m.repo); err != nil {
		return err
	}
	if err := m.repo.LoadIndex(ctx); err != nil {
		return err
	}
	if m.damage, err = m.repo.FindDamage(ctx, m.opts.ReadAll, m.progress); err != nil {
		return err
	}
	m.done.Packs = m.damage.Packs
	if m.opts.DryRun {
		if err := m.forecast(ctx); err != nil {
			return err
		}
	}
	if err := m.damage.MendFiles(ctx, m.opts.Copies); err != nil {
		return err
	}
	if err := m.damage.Settle(ctx); err != nil {
		return err
	}
	if err := m.salvage(ctx); err != nil {
		return err
	}
	if err := m.look(ctx); err != nil {
		return err
	}
	if err := m.collect(ctx); err != nil {
		return err
	}
	m.done.Lacking = m.damage.Wants()
	return nil
}

// forecast finds out what is lost before anything is mended: afterwards, a dry run could not read what it did not store.
func (m *mending) forecast(ctx context.Context) error {
	if err := m.damage.Probe(ctx); err != nil {
		return err
	}
	defer m.damage.Unprobe()
	return m.check(ctx)
}

// look finds out what is lost now.
func (m *mending) look(ctx context.Context) error {
	if m.opts.DryRun {
		return nil
	}
	return m.check(ctx)
}

func (m *mending) check(ctx context.Context) (err error) {
	c := snapshot.NewMapCheck(m.repo, m.damage.Why)
	c.Missing = map[chunk.ID]chunk.Kind{}
	m.done.Losses, err = c.All(ctx, m.snapshots)
	m.damage.Missing = c.Missing
	return cmp.Or(err, c.Passing)
}

// whole reports whether nothing is to be looked for any more.
func (m *mending) whole() bool {
	if m.opts.DryRun {
		return m.damage.Wants() == 0
	}
	return len(m.done.Losses) == 0
}

// salvage copies out what the damaged packs still give.
func (m *mending) salvage(ctx context.Context) error {
	_, err := m.from(ctx, "what is left of those packs", func(ctx context.Context, f *Found) (err error) {
		f.Chunks, err = m.damage.Salvage(ctx)
		return err
	})
	return err
}

// collect takes from one source after the other what is lost.
func (m *mending) collect(ctx context.Context) error {
	for _, c := range m.opts.Copies {
		err := m.again(ctx, c.Name, func(ctx context.Context, f *Found) (err error) {
			f.Chunks, f.Stopped, err = m.damage.TakeChunks(ctx, c.Repo)
			return err
		})
		if err != nil {
			return err
		}
	}
	for _, d := range m.opts.Disks {
		if seq, ok := d.Disk.(image.Sequential); ok {
			seq.ReadSequentially()
		}
		err := m.again(ctx, d.Name, func(ctx context.Context, f *Found) error { return m.cut(ctx, d.Disk, f) })
		if err != nil {
			return err
		}
	}
	return nil
}

// again takes from a source, and once more as long as pages came back that name chunks nobody knew of.
func (m *mending) again(ctx context.Context, name string, take func(context.Context, *Found) error) error {
	for !m.whole() {
		missing := m.damage.Missing
		if n, err := m.from(ctx, name, take); err != nil || n == 0 || m.opts.DryRun {
			return err
		}
		if err := m.look(ctx); err != nil {
			return err
		}
		news := false
		for id := range m.damage.Missing {
			_, old := missing[id]
			news = news || !old
		}
		if !news {
			return nil
		}
	}
	return nil
}

// from notes what a source gave, and returns how many chunks that is.
func (m *mending) from(ctx context.Context, name string, take func(context.Context, *Found) error) (int64, error) {
	f := Found{Name: name, Wanted: m.damage.Wants()}
	if f.Wanted == 0 {
		return 0, nil
	}
	if err := take(ctx, &f); err != nil {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	m.done.Found = append(m.done.Found, f)
	return f.Chunks, nil
}

// cut cuts a disk as a backup does, and stores what is wanted: chunks, pages, and nodes. A page comes out as it was where
// all of its region is as it was.
func (m *mending) cut(ctx context.Context, disk image.Disk, f *Found) error {
	stats, err := m.repo.Write(ctx, func(ctx context.Context, w *repo.Writer) (err error) {
		f.Skipped, err = backup.Recut(ctx, m.repo, w, disk, m.damage.Wanted, m.progress)
		return err
	})
	if err != nil {
		return err
	}
	f.Chunks = stats.Chunks.Load()
	return nil
}
