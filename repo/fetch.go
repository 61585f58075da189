package repo

import (
	"cmp"
	"context"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"platter/chunk"
)

// A Want is a chunk of data and its place.
type Want struct {
	ID  chunk.ID
	Off int64  // its place, in bytes; Fetch only passes it on
	Len uint32 // bytes that the caller expects; Fetch only passes it on
}

// Got is a wanted chunk with its bytes.
type Got struct {
	Want
	Data []byte
}

// A Batch is a set of chunks to fetch together. The larger it is, the fewer frames are opened twice.
type Batch struct {
	Wants []Want
	// Load takes chunks of one frame, in the order of the frame: neighbours there are neighbours in memory too. Several
	// goroutines call it at once. The chunks are valid only during the call.
	Load func(ctx context.Context, got []Got) error
	// Done, if not nil, is called after the last Load has returned.
	Done func(ctx context.Context) error

	left atomic.Int64 // runs, and one while it is being dispatched
}

// A batchRun is a part of a batch for one goroutine, and one read.
type batchRun struct {
	batch *Batch
	run   []wanted
}

// fetchers is the number of goroutines of a Fetch. It exceeds the number of cores, because some wait for the store or for
// Batch.Load. The decoder limits the cores in use.
func (r *Repo) fetchers() int { return min(4*r.workers, maxWorkers+4) }

// Fetch loads the batches that feed puts, in the order of packs, on all cores. It reads and opens each frame of a batch
// once, and verifies each chunk's ID before Load gets the chunk. It dispatches the next batch while one is loaded, so two
// are in memory. Errors are those of Repo.Load.
func (r *Repo) Fetch(ctx context.Context, feed func(ctx context.Context, put func(*Batch) error) error) error {
	v := r.view()
	g, gctx := errgroup.WithContext(ctx)
	runs := make(chan batchRun)
	g.Go(func() error {
		defer close(runs)
		return feed(gctx, func(b *Batch) error { return v.dispatch(gctx, b, runs) })
	})
	for range r.fetchers() {
		g.Go(func() error {
			l := r.newLoader(v, chunk.Data)
			defer l.close()
			var got []Got
			for job := range runs {
				err := l.load(gctx, job.run, func(raw []byte, run []wanted) error {
					got = got[:0]
					for i := range run {
						got = append(got, Got{job.batch.Wants[run[i].at], run[i].of(raw)})
					}
					return job.batch.Load(gctx, got)
				})
				if err == nil {
					err = job.batch.finish(gctx)
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
	return cmp.Or(g.Wait(), ctx.Err())
}

// dispatch sends a batch to the goroutines, one read at a time.
func (v *view) dispatch(ctx context.Context, b *Batch, runs chan<- batchRun) error {
	want, err := v.locate(chunk.Data, len(b.Wants), func(i int) chunk.ID { return b.Wants[i].ID })
	if err != nil {
		return err
	}
	b.left.Add(1)
	for len(want) > 0 {
		n := gather(want)
		b.left.Add(1)
		select {
		case runs <- batchRun{b, want[:n]}:
		case <-ctx.Done():
			return ctx.Err()
		}
		want = want[n:]
	}
	return b.finish(ctx)
}

// finish calls Done if nothing of the batch is left.
func (b *Batch) finish(ctx context.Context) error {
	if b.left.Add(-1) > 0 || b.Done == nil {
		return nil
	}
	return b.Done(ctx)
}
