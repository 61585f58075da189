// Package heal repairs what a repository has lost. RepairPacks mends packs from parity, copies and disks.
// RepairSnapshots replaces versions that have lost data with new versions of what is left. Nothing is removed before
// its replacement is durable.
package heal

import (
	"cmp"
	"context"
	"fmt"

	"platter/chunk"
	"platter/pack"
	"platter/repo"
	"platter/snapshot"
	"platter/snapshot/backup"
	"platter/snapshot/image"
)

// A Repository is the part of a *repo.Repo that RepairPacks and RepairSnapshots need.
type Repository interface {
	snapshot.Files   // the versions
	snapshot.Indexed // what their maps need, and what is there
	snapshot.Putter  // the new versions
	backup.Cutting   // to cut a disk again
	// WithLease runs fn while it holds a lease for the work.
	WithLease(ctx context.Context, work repo.Work, fn func(context.Context) error) error
	// LoadIndex reads the index. It comes after the list of snapshots.
	LoadIndex(ctx context.Context) error
	// FindDamage finds missing and damaged packs: with readAll among all packs, otherwise among those that are known.
	FindDamage(ctx context.Context, readAll bool, p *repo.Progress) (*repo.Damage, error)
	// Write runs fn, which may save chunks through the Writer. It returns once they are durable and in the index.
	Write(ctx context.Context, fn func(context.Context, *repo.Writer) error) (*repo.Stats, error)
	// SetAside removes snapshots and keeps their files aside. It returns how many are done.
	SetAside(ctx context.Context, ids []pack.FileID) (done int, err error)
}

var _ Repository = (*repo.Repo)(nil)

// A Holder is a disk that may still hold lost data, and its name for the user.
type Holder struct {
	Name string
	Disk image.Disk
}

// MendOptions say where RepairPacks looks for damaged and lost data.
type MendOptions struct {
	ReadAll bool // read every pack; otherwise only those that are missing, truncated, or known to be damaged
	Copies  []repo.Copy
	Disks   []Holder
	DryRun  bool // the repository was opened for a dry run
}

// Mended is the result of RepairPacks.
type Mended struct {
	Packs      []*repo.PackDamage // all that were missing or damaged
	Found      []Found            // the sources in which chunks were searched, in order
	Losses     []snapshot.Loss    // what snapshots have lost afterwards; in a dry run, before
	Lacking    int64              // chunks of those packs that were found nowhere; some may be needed by no snapshot
	Unreadable []error            // snapshot files that cannot be read, so that their needs are unknown
}

// Found says how many of the wanted chunks one source had.
type Found struct {
	Name           string
	Wanted, Chunks int64
	Skipped        int64 // bytes of the source that could not be read
	Stopped        error // why the source was not searched completely
}

// RepairPacks mends packs that are missing or damaged, from their parity files and from copies of the repository. If a
// pack cannot be had whole, RepairPacks stores its chunks again: from its own remains, from copies, and from disks. All
// of this is verified by file ID or chunk ID. A damaged file is replaced by the whole pack, or stays as it is.
func RepairPacks(ctx context.Context, r Repository, o MendOptions, p *repo.Progress) (done *Mended, err error) {
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

// A mending is a running RepairPacks.
type mending struct {
	repo      Repository
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

// forecast finds what is lost before anything is mended. Later, a dry run could not read what it did not store.
func (m *mending) forecast(ctx context.Context) error {
	if err := m.damage.Probe(ctx); err != nil {
		return err
	}
	defer m.damage.Unprobe()
	return m.check(ctx)
}

// look finds what is lost now. In a dry run, forecast has done so.
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

// whole reports whether nothing more needs to be searched.
func (m *mending) whole() bool {
	if m.opts.DryRun {
		return m.damage.Wants() == 0
	}
	return len(m.done.Losses) == 0
}

// salvage copies the chunks that are still readable in the damaged packs.
func (m *mending) salvage(ctx context.Context) error {
	_, err := m.from(ctx, "what is left of those packs", func(ctx context.Context, f *Found) (err error) {
		f.Chunks, err = m.damage.Salvage(ctx)
		return err
	})
	return err
}

// collect takes lost chunks from one source after another.
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
		if seq, ok := image.As[image.Sequential](d.Disk); ok {
			seq.ReadSequentially()
		}
		err := m.again(ctx, d.Name, func(ctx context.Context, f *Found) error { return m.cut(ctx, d.Disk, f) })
		if err != nil {
			return err
		}
	}
	return nil
}

// again takes from a source, and repeats that while recovered pages name chunks that were unknown before.
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

// from records what a source had, and returns the number of chunks.
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

// cut cuts a disk as a backup does, and stores the wanted chunks, pages and nodes. A page comes out the same only if
// all of its region is unchanged.
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
