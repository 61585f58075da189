package repo

import (
	"cmp"
	"context"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"platter/chunk"
)

// A Want is a chunk of data that belongs somewhere.
type Want struct {
	ID  chunk.ID
	Off int64  // where it belongs, bytes; Fetch only hands it back
	Len uint32 // bytes, as whoever wants it believes; Fetch only hands it back
}

// Got is a chunk that was wanted.
type Got struct {
	Want
	Data []byte
}

// A Batch is chunks that are fetched together: the more there are, the fewer frames are opened more than once.
type Batch struct {
	Wants []Want
	// Load takes chunks of one frame, in the order in which they lie in it: what lies side by side there is side by side
	// in memory too. It is called from several goroutines at once. The chunks hold only during the call.
	Load func(ctx context.Context, got []Got) error
	// Done is called when Load has returned for the last of them; nil for nothing.
	Done func(ctx context.Context) error

	left atomic.Int64 // runs, and one while it is being dispatched
}

// A batchRun is a part of a batch for one goroutine, and one read.
type batchRun struct {
	batch *Batch
	run   []wanted
}

// fetchers is how many goroutines work on a Fetch: more than cores, because some of them wait, for the store or for
// whoever takes the chunks. Cores are limited by the decoder, which has no more than one for each.
func (r *Repo) fetchers() int { return min(4*r.workers, maxWorkers+4) }

// Fetch loads the batches that feed puts, in the order in which chunks lie in packs, on all cores. In a batch every frame
// is read and opened once, and each chunk is proved by its id before Load sees it. While one batch is being loaded the
// next is dispatched, so two are in memory. Errors are as of Repo.Load.
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

// finish calls Done where nothing of the batch is left.
func (b *Batch) finish(ctx context.Context) error {
	if b.left.Add(-1) > 0 || b.Done == nil {
		return nil
	}
	return b.Done(ctx)
}
