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
	ReadAll bool   // every pack is read; else only those that are missing, cut off, or known to be damaged
	Write   bool   // snapshots in the place of those that are not whole
	Forget  bool   // set aside those, and files that hold no snapshot any more; goes with Write
	Platter string // version of the program
}

// TagRepaired is the tag of snapshots that RepairSnapshots made.
const TagRepaired = "repaired"

// A Repair is what became of a snapshot that is not whole.
type Repair struct {
	snapshot.Loss
	New       *snapshot.Snapshot // in its place; nil where there is none
	Made      bool               // New was made now, and not by an earlier repair
	Forgotten bool
}

// Repairs is what RepairSnapshots did.
type Repairs struct {
	Snapshots  []Repair
	Unreadable []UnreadableFile
}

// An UnreadableFile is a snapshot file that cannot be read.
type UnreadableFile struct {
	*snapshot.Unreadable
	Forgotten bool
}

// RepairSnapshots finds snapshots that are not whole, and puts others in their place if so wished: the same disks, of which
// the lost ranges are known to be lost and read as zeros. All else of them is as it was. Nothing is removed before what takes
// its place is durable.
func RepairSnapshots(ctx context.Context, r *repo.Repo, o RepairOptions, p *repo.Progress) (*Repairs, error) {
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

// A repairing is a RepairSnapshots under way.
type repairing struct {
	repo      *repo.Repo
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

// write makes the new snapshots: first the maps of all of them, then, when those are durable, one after the other.
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

// replaceAll stores the new snapshots. Those of which most is left come first: of a version that was repaired before, and is
// broken again, less may be left than of what took its place.
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
		if q.New = f.standIn(q.Snapshot, fresh[i]); q.New != nil {
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

// standIn returns a snapshot that is there, is whole, and is as good as one that would be made in the place of old: the same,
// or one that was made of old when more was left. nil where there is none.
func (f *repairing) standIn(old, fresh *snapshot.Snapshot) *snapshot.Snapshot {
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

// remade returns the snapshot that is to take the place of a broken one. It is stored nowhere yet.
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

// wordsOf tells how much is lost.
func wordsOf(l *snapshot.Loss) string {
	plural := "s"
	if l.Ranges.Count == 1 {
		plural = ""
	}
	return fmt.Sprintf("%d bytes in %d range%s lost", l.Ranges.Bytes, l.Ranges.Count, plural)
}

// forget removes what new snapshots stand for, and files that hold none any more: those that are damaged, and still are when
// they are read again. One that a newer platter wrote, or that the store did not give, may be a whole one. All of them are kept
// aside.
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
