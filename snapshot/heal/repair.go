package heal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"platter/chunk"
	"platter/pack"
	"platter/repo"
	"platter/snapshot"
)

// RepairOptions say what RepairSnapshots changes.
type RepairOptions struct {
	ReadAll bool   // read every pack; otherwise only those that are missing, truncated, or known to be damaged
	Write   bool   // store replacements for the snapshots that are not whole
	Forget  bool   // set aside the replaced snapshots and damaged snapshot files; needs Write
	Platter string // version of the program
}

// TagRepaired is the tag of snapshots that RepairSnapshots made.
const TagRepaired = "repaired"

// A Repair is the result for one snapshot that is not whole.
type Repair struct {
	snapshot.Loss
	New       *snapshot.Snapshot // its replacement; nil if there is none
	Made      bool               // this repair made New, not an earlier one
	Forgotten bool
}

// Repairs is the result of RepairSnapshots.
type Repairs struct {
	Snapshots  []Repair
	Unreadable []UnreadableFile
}

// An UnreadableFile is a snapshot file that cannot be read.
type UnreadableFile struct {
	*snapshot.Unreadable
	Forgotten bool
}

// RepairSnapshots finds snapshots that are not whole and, if the options say so, stores replacements. A replacement is
// the same disk. Its lost ranges are marked as unreadable and read as zeros; everything else is unchanged. Nothing is
// removed before its replacement is durable.
func RepairSnapshots(ctx context.Context, r Repository, o RepairOptions, p *repo.Progress) (*Repairs, error) {
	f := &repairing{repo: r, opts: o, progress: p, done: new(Repairs)}
	work := f.run
	if o.Write {
		work = func(ctx context.Context) error { return r.WithLease(ctx, repo.Repairing, f.run) }
	}
	if err := work(ctx); err != nil {
		return nil, fmt.Errorf("repair snapshots: %w", err)
	}
	return f.done, nil
}

// A repairing is a running RepairSnapshots.
type repairing struct {
	repo      Repository
	opts      RepairOptions
	progress  *repo.Progress
	done      *Repairs
	snapshots []*snapshot.Snapshot
	damage    *repo.Damage
}

func (f *repairing) run(ctx context.Context) error {
	all, bad, err := snapshot.Load(ctx, f.repo)
	if err != nil {
		return err
	}
	f.snapshots = all
	for _, err := range bad {
		if u, ok := errors.AsType[*snapshot.Unreadable](err); ok {
			f.done.Unreadable = append(f.done.Unreadable, UnreadableFile{Unreadable: u})
		}
	}
	if err := f.repo.LoadIndex(ctx); err != nil {
		return err
	}
	if f.damage, err = f.repo.FindDamage(ctx, f.opts.ReadAll, f.progress); err != nil {
		return err
	}
	if f.opts.Write {
		if err := f.damage.Settle(ctx); err != nil {
			return err
		}
	}
	if err := f.damage.Probe(ctx); err != nil {
		return err
	}
	check := snapshot.NewMapCheck(f.repo, f.damage.Why)
	losses, err := check.All(ctx, all)
	if err = cmp.Or(err, check.Passing); err != nil {
		return err
	}
	for _, l := range losses {
		f.done.Snapshots = append(f.done.Snapshots, Repair{Loss: l})
	}
	if !f.opts.Write {
		return nil
	}
	if err := f.write(ctx, check); err != nil || !f.opts.Forget {
		return err
	}
	return f.forget(ctx)
}

// write makes the new snapshots: first the maps of all of them. When those are durable, it stores the snapshots one by
// one.
func (f *repairing) write(ctx context.Context, check *snapshot.MapCheck) error {
	roots := make([]chunk.ID, len(f.done.Snapshots))
	_, err := f.repo.Write(ctx, func(ctx context.Context, w *repo.Writer) (err error) {
		rw := newRewriter(check, f.damage, w)
		for i, q := range f.done.Snapshots {
			m := q.Snapshot.Map(f.repo)
			if roots[i], err = rw.fold.Of(ctx, m); err != nil {
				return err
			}
			if roots[i] == m.Root() {
				return fmt.Errorf("%s could not be read, and now it can: %w; run it again", q.Snapshot.ID, q.Reasons[0])
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return f.replaceAll(ctx, roots)
}

// replaceAll stores the new snapshots, those with the least loss first. A version that was repaired before may be
// damaged again. Then less may be left of it than of its replacement.
func (f *repairing) replaceAll(ctx context.Context, roots []chunk.ID) error {
	var order []int
	fresh := make([]*snapshot.Snapshot, len(roots))
	for i := range roots {
		s, err := f.remade(ctx, &f.done.Snapshots[i], roots[i])
		if err != nil {
			return err
		}
		order, fresh[i] = append(order, i), s
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(fresh[a].Unreadable, fresh[b].Unreadable) })
	for _, i := range order {
		q := &f.done.Snapshots[i]
		if q.New = f.equivalent(q.Snapshot, fresh[i]); q.New != nil {
			continue
		}
		if err := fresh[i].Save(ctx, f.repo); err != nil {
			return err
		}
		q.New, q.Made = fresh[i], true
		f.snapshots = append(f.snapshots, fresh[i])
	}
	return nil
}

// equivalent returns an existing whole snapshot that is at least as good as a new replacement for old. It is the same, or
// it was made from old when more was left. nil if there is none.
func (f *repairing) equivalent(old, fresh *snapshot.Snapshot) *snapshot.Snapshot {
	for _, s := range f.snapshots {
		broken := slices.ContainsFunc(f.done.Snapshots, func(q Repair) bool { return q.Snapshot == s })
		if broken || s.Size != old.Size || s.Name != old.Name || s.Host != old.Host || !s.Time.Equal(old.Time) {
			continue
		}
		if s.Root == fresh.Root || s.Replaces(old) && s.Unreadable <= fresh.Unreadable {
			return s
		}
	}
	return nil
}

// remade returns the replacement for a damaged snapshot, not stored yet.
func (f *repairing) remade(ctx context.Context, q *Repair, root chunk.ID) (*snapshot.Snapshot, error) {
	old, s := q.Snapshot, *q.Snapshot
	s.Root, s.Platter = root, f.opts.Platter
	all, err := snapshot.MeasureMap(ctx, s.Map(f.repo))
	if err != nil {
		return nil, err
	}
	s.Stats.Data, s.Unreadable = all.Data, all.Unreadable.Bytes
	s.Tags = slices.Clone(old.Tags)
	if !slices.Contains(s.Tags, TagRepaired) {
		s.Tags = append(s.Tags, TagRepaired)
	}
	if s.Note != "" {
		s.Note += "; "
	}
	s.Note += snapshot.RepairNote(old) + wordsOf(&q.Loss)
	return &s, nil
}

// wordsOf says how much is lost.
func wordsOf(l *snapshot.Loss) string {
	plural := "s"
	if l.Ranges.Count == 1 {
		plural = ""
	}
	return fmt.Sprintf("%d bytes in %d range%s lost", l.Ranges.Bytes, l.Ranges.Count, plural)
}

// forget sets aside replaced snapshots, and snapshot files that are still damaged when they are read again. A file that
// a newer platter wrote, or that the store cannot read, may be whole, and stays.
func (f *repairing) forget(ctx context.Context) error {
	var ids []pack.FileID
	for _, q := range f.done.Snapshots {
		ids = append(ids, q.Snapshot.ID)
	}
	lost := map[pack.FileID]bool{}
	for i, u := range f.done.Unreadable {
		still := snapshot.Reread(ctx, f.repo, u.Unreadable)
		if lost[u.ID] = still.IsDamaged(); lost[u.ID] {
			ids = append(ids, u.ID)
		}
		f.done.Unreadable[i].Unreadable = still
	}
	if _, err := f.repo.SetAside(ctx, ids); err != nil {
		return err
	}
	for i := range f.done.Snapshots {
		f.done.Snapshots[i].Forgotten = true
	}
	for i, u := range f.done.Unreadable {
		f.done.Unreadable[i].Forgotten = lost[u.ID]
	}
	return nil
}
