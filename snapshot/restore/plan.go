package restore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"platter/chunk"
	"platter/repo"
	"platter/snapshot"
	"platter/snapshot/image"
)

// A Planner is the part of a *repo.Repo that the plan of a restore needs.
type Planner interface {
	Repository
	// NewTally returns a Tally, which counts what a Fetch would read.
	NewTally() *repo.Tally
}

var _ Planner = (*repo.Repo)(nil)

// A Plan says what a restore would do, in bytes.
type Plan struct {
	Fetch  int64 // from the repository, as stored there
	Differ int64 // chunks that the target does not have; of a partly right one, only what differs is written
	Right  int64 // chunks that the target already has; only in place
	Zero   int64 // blocks outside all chunks to be zeroed; only in place
	Time   time.Duration

	Room *RoomError // for a file: the file system may have too little room; nil if it has enough or this is not known
}

// PlanFile returns what ToFile would do. It writes nothing.
func PlanFile(ctx context.Context, r Planner, s *snapshot.Snapshot, part snapshot.Part, path string, o Options, p *repo.Progress) (*Plan, error) {
	plan, err := planFile(ctx, r, s, part, path, o, p)
	if err != nil {
		return nil, fmt.Errorf("restore to %s: %w", path, err)
	}
	return plan, nil
}

func planFile(ctx context.Context, r Planner, s *snapshot.Snapshot, part snapshot.Part, path string, o Options, p *repo.Progress) (plan *Plan, err error) {
	if err := checkTarget(path, o.Replace || o.InPlace); err != nil {
		return nil, err
	}
	if o.Replace {
		if err := refuseReplacing(path, o.ForceInUse); err != nil {
			return nil, err
		}
	}
	var there image.Disk = image.Mem{}
	left, allocated := roomFor(path), int64(0)
	if o.InPlace {
		f, err := openInPlace(path, os.O_RDONLY, o.ForceInUse)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		if there, err = image.OfFile(f); err != nil {
			return nil, err
		}
		left, allocated = roomIn(f)
	}
	plan, data, err := planOnto(ctx, r, s, part, lookOnly{there, part.Len}, o, p)
	if err == nil {
		plan.Room = left.lacks(data, part.Len, allocated)
	}
	return plan, err
}

// PlanDevice returns what ToDevice would do. It writes nothing.
func PlanDevice(ctx context.Context, r Planner, s *snapshot.Snapshot, fit *Fit, d *Device, o Options, p *repo.Progress) (*Plan, error) {
	t := newDeviceTarget(d)
	o.InPlace = true
	plan, _, err := planOnto(ctx, r, s, fit.Part, lookOnly{t, d.Size}, o, p)
	if err == nil && o.WipeRest {
		rest := new(Result)
		err = wipe(ctx, lookOnly{t, d.Size}, fit.Part.Len, false, rest)
		plan.Zero += rest.Zeroed.Load()
	}
	if err = errors.Join(err, t.Close()); err != nil {
		return nil, fmt.Errorf("restore to %s: %w", d.Path, err)
	}
	return plan, nil
}

// A lookOnly is a target of size bytes that discards writes.
type lookOnly struct {
	image.Disk       // what is there now
	size       int64 // that it will have
}

var _ target = lookOnly{}

func (t lookOnly) Size() int64 { return t.size }

// Extents yields what is there, then zeros up to the new size. The first of these zeros share a block with data.
func (t lookOnly) Extents() iter.Seq2[image.Extent, error] {
	return func(yield func(image.Extent, error) bool) {
		at := t.Disk.Size()
		for e, err := range t.Disk.Extents() {
			if err == nil && e.Off >= t.size {
				return
			}
			if !e.Zero && e.Off+e.Len == at {
				at = (at + chunk.Block - 1) &^ (chunk.Block - 1)
				e.Len = at - e.Off
			}
			e.Len = min(e.Len, t.size-e.Off)
			if !yield(e, err) || err != nil {
				return
			}
		}
		if at < t.size {
			yield(image.Extent{Off: at, Len: t.size - at, Zero: true}, nil)
		}
	}
}

func (t lookOnly) ReadAt(p []byte, off int64) (int, error) {
	n, err := t.Disk.ReadAt(p[:min(int64(len(p)), max(0, t.size-off))], off)
	if err == nil && n < len(p) {
		err = io.EOF
	}
	if errors.Is(err, io.EOF) && off+int64(n) < t.size {
		end := int(min(int64(len(p)), t.size-off))
		clear(p[n:end])
		n = end
	}
	if n == len(p) {
		err = nil
	}
	return n, err
}

func (t lookOnly) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }
func (t lookOnly) Zero(int64, int64) error                { return nil }
func (t lookOnly) DropCache(int64, int64) error           { return nil }
func (t lookOnly) Sync() error                            { return nil }

// planOnto compares a target with the snapshot as a restore would. data is the number of bytes of chunks.
func planOnto(ctx context.Context, r Planner, s *snapshot.Snapshot, part snapshot.Part, t lookOnly, o Options, p *repo.Progress) (_ *Plan, data int64, err error) {
	m, err := contentOf(r, s, part)
	if err != nil {
		return nil, 0, err
	}
	if data, err = m.lookAhead(ctx, t); err != nil {
		return nil, 0, err
	}
	p.Expect(min(s.Stats.Data, part.Len))
	done, start := new(Result), time.Now()
	filling, err := newFilling(ctx, m, t, o, done, p)
	if err != nil {
		return nil, 0, err
	}
	plan, tally, sample := new(Plan), r.NewTally(), []repo.Want(nil)
	g, gctx := errgroup.WithContext(ctx)
	needs := make(chan regionNeeds)
	g.Go(func() error {
		defer close(needs)
		return filling.compareAll(gctx, needs)
	})
	g.Go(func() error {
		for reg := range needs {
			for _, w := range reg.wants {
				plan.Differ += int64(w.Len)
				p.Add(int64(w.Len))
			}
			if len(reg.wants) > 0 && len(sample) < sampleFrames {
				sample = append(sample, reg.wants[len(reg.wants)/2])
			}
			if err := tally.Add(reg.wants); err != nil {
				return err
			}
		}
		return nil
	})
	if err := g.Wait(); err != nil {
		return nil, 0, err
	}
	looked := time.Since(start)
	plan.Fetch, plan.Right, plan.Zero = tally.Bytes, done.Right.Load(), done.Zeroed.Load()
	plan.Time, err = estimate(ctx, r, plan, sample, looked, part.Len, o)
	return plan, data, err
}

// sampleFrames is the number of frames fetched to measure the fetch rate.
const sampleFrames = 8

// estimate returns how long a restore may take. It adds three times. The comparison takes its measured time. Then comes
// the longer of the fetch, at the rate of a few frames, and the write, at the rate of the comparison. The read back
// takes as long as the comparison.
func estimate(ctx context.Context, r Planner, plan *Plan, sample []repo.Want, looked time.Duration, length int64, o Options) (time.Duration, error) {
	fetched := r.NewTally()
	if err := fetched.Add(sample); err != nil {
		return 0, err
	}
	start := time.Now()
	batches := make(chan repo.Batch, 1)
	batches <- discarded(sample)
	close(batches)
	if err := r.Fetch(ctx, batches); err != nil {
		return 0, err
	}
	work := scaled(time.Since(start), plan.Fetch, fetched.Bytes)
	if o.InPlace {
		work = looked + max(work, scaled(looked, plan.Differ+plan.Zero, length))
	}
	if o.Verify && o.InPlace {
		work += looked
	}
	return work, nil
}

// A discarded batch is fetched to measure how long that takes.
type discarded []repo.Want

// Wants returns the chunks.
func (d discarded) Wants() []repo.Want { return d }

// Load does nothing.
func (discarded) Load(context.Context, []repo.Got) error { return nil }

// Done does nothing.
func (discarded) Done(context.Context) error { return nil }

// scaled returns the time for n bytes, given the time that of bytes took.
func scaled(took time.Duration, n, of int64) time.Duration {
	if of <= 0 {
		return 0
	}
	return time.Duration(float64(took) * float64(n) / float64(of))
}
