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
type Batch interface {
	// Wants returns the chunks, in any order. Fetch calls it once, and then neither Fetch nor the caller changes the slice.
	Wants() []Want
	// Load takes chunks of one frame, in the order of the frame: neighbours there are neighbours in memory too. Several
	// goroutines call it at once. The chunks are valid only during the call.
	Load(ctx context.Context, got []Got) error
	// Done is called once, after the last Load has returned without an error.
	Done(ctx context.Context) error
}

// Fetch loads batches, in the order of packs, on all cores, until the channel is closed. It reads and opens each frame of
// a batch once, and verifies each chunk's ID before Load gets the chunk. It dispatches the next batch while one is
// loaded. Errors are those of Repo.Load and of the batches' methods. After an error it receives no more batches. So the
// sender needs a context that ends then, as in an errgroup with Fetch.
func (r *Repo) Fetch(ctx context.Context, batches <-chan Batch) error {
	v := r.view()
	g, gctx := errgroup.WithContext(ctx)
	runs := make(chan batchRun)
	g.Go(func() error {
		defer close(runs)
		return v.dispatchAll(gctx, batches, runs)
	})
	for range r.fetchers() {
		g.Go(func() error { return r.fetch(gctx, v, runs) })
	}
	return cmp.Or(g.Wait(), ctx.Err())
}

// fetchers is the number of goroutines of a Fetch. It exceeds the number of cores, because some wait for the store or for
// Batch.Load. The decoder limits the cores in use.
func (r *Repo) fetchers() int { return min(4*r.workers, maxWorkers+4) }

// A batchUnderWay is a batch that Fetch has received.
type batchUnderWay struct {
	Batch
	wants []Want
	left  atomic.Int64 // runs, and one while it is being dispatched
}

// A batchRun is a part of a batch for one goroutine, and one read.
type batchRun struct {
	batch *batchUnderWay
	run   []wanted
}

func (v *view) dispatchAll(ctx context.Context, batches <-chan Batch, runs chan<- batchRun) error {
	for {
		select {
		case b, ok := <-batches:
			if !ok {
				return nil
			}
			if err := v.dispatch(ctx, &batchUnderWay{Batch: b, wants: b.Wants()}, runs); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// dispatch sends a batch to the goroutines, one read at a time.
func (v *view) dispatch(ctx context.Context, b *batchUnderWay, runs chan<- batchRun) error {
	want, err := v.locate(chunk.Data, len(b.wants), func(i int) chunk.ID { return b.wants[i].ID })
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

// fetch loads runs of batches.
func (r *Repo) fetch(ctx context.Context, v *view, runs <-chan batchRun) error {
	l := r.newLoader(v, chunk.Data)
	defer l.close()
	var got []Got
	for job := range runs {
		err := l.load(ctx, job.run, func(raw []byte, run []wanted) error {
			got = got[:0]
			for i := range run {
				got = append(got, Got{job.batch.wants[run[i].at], run[i].of(raw)})
			}
			return job.batch.Load(ctx, got)
		})
		if err == nil {
			err = job.batch.finish(ctx)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// finish calls Done if nothing of the batch is left.
func (b *batchUnderWay) finish(ctx context.Context) error {
	if b.left.Add(-1) > 0 {
		return nil
	}
	return b.Done(ctx)
}
