package repo

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"platter/chunk"
	"platter/index"
	"platter/pack"
	"platter/repo/layout"
	"platter/repo/store"
)

// A Writer takes chunks and packs the new ones.
//
//	lanes ──frames──▶ encoders ──sealed frames──▶ builder ──packs──▶ uploader ──▶ store, index
//
// Each worker fills frames of its own, so that neighbours on the disk stay neighbours in a frame. Encoders compress and
// seal frames on all cores. One uploader makes a pack durable while the next is laid out.
type Writer struct {
	repo  *Repo
	lanes chan *pack.Open    // full frames
	spare sync.Pool          // of *pack.Open
	bufs  chan []byte        // memory of packs: one being laid out, one being stored
	packs chan *pack.Builder // full packs
	stats Stats

	open   atomic.Int64 // open lanes
	mapsMu sync.Mutex
	maps   *Lane

	pace *pace

	mu       sync.Mutex
	builder  *pack.Builder // nil if no frame waits
	began    time.Time     // when the builder was first needed
	waited   time.Duration // until the store had accepted the pack whose memory the builder reuses
	encoding time.Duration // spent on the builder's frames, summed over all encoders
}

// Stats count what a Write stored.
type Stats struct {
	Chunks atomic.Int64 // new chunks, data and map
	Raw    atomic.Int64 // bytes of the new chunks
	Stored atomic.Int64 // bytes put into the store for them: packs, parity and index
}

// Limits of a Writer.
const (
	packsInMemory = 2
	packsPerIndex = 64      // an interrupted backup loses fewer packs than this from the index, and none from the store
	indexBytes    = 8 << 20 // bytes of tables, after which an index file is closed, too
	salvageTime   = 5 * time.Second
)

// Write runs fn under a lease. fn may save chunks through the Writer from any number of goroutines. Write returns once
// all chunks are durable and in the index. Only one Write at a time can use a Repo.
//
// After an error, or if ctx is done, Write still puts the stored packs in the index, for the next run to find. Then
// this Repo's index is unusable until the next LoadIndex.
func (r *Repo) Write(ctx context.Context, fn func(context.Context, *Writer) error) (stats *Stats, err error) {
	err = r.WithLease(ctx, BackingUp, func(ctx context.Context) error {
		stats, err = r.write(ctx, fn)
		return err
	})
	return stats, err
}

func (r *Repo) write(ctx context.Context, fn func(context.Context, *Writer) error) (*Stats, error) {
	if !r.writing.TryLock() {
		return nil, errors.New("another write is under way through the same Repo, and its chunks are not durable yet")
	}
	defer r.writing.Unlock()
	r.indexing.Lock()
	defer r.indexing.Unlock()
	if r.stale {
		return nil, errors.New("an earlier write failed: load the index again")
	}
	w := &Writer{
		repo: r, pace: newPace(r.compression, r.workers),
		lanes: make(chan *pack.Open), packs: make(chan *pack.Builder), bufs: make(chan []byte, packsInMemory),
	}
	for range packsInMemory {
		w.bufs <- nil
	}
	w.maps = w.lane(chunk.Map)

	var stored []index.PackTable // packs from the uploader, not yet in an index file
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(w.lanes)
		if err := fn(gctx, w); err != nil {
			return err
		}
		if n := w.open.Load(); n > 1 { // all but the lane for maps; what is left in them would never be stored
			return fmt.Errorf("%d lanes were not closed", n-1)
		}
		return w.maps.Close(gctx)
	})
	var encoders sync.WaitGroup
	for range r.workers {
		encoders.Add(1)
		g.Go(func() error {
			defer encoders.Done()
			return w.encode(gctx)
		})
	}
	g.Go(func() error {
		defer close(w.packs)
		encoders.Wait()
		return w.handOverLast(gctx)
	})
	g.Go(func() (err error) {
		stored, err = w.upload(gctx)
		return err
	})
	err := g.Wait()
	if err == nil {
		if err = w.saveIndex(ctx, stored); err == nil {
			// Chunks that were already stored may be in an index file that is not durable, because its writer was
			// killed.
			err = store.SyncDir(ctx, r.view().store, layout.Index)
		}
		if r.stale = err != nil; err == nil {
			w.tidy(ctx)
		}
		return &w.stats, err
	}
	r.stale = true
	salvage, cancel := context.WithTimeout(context.WithoutCancel(ctx), salvageTime)
	defer cancel()
	if e := w.saveIndex(salvage, stored); e != nil && ctx.Err() == nil {
		err = fmt.Errorf("%w (and the packs stored so far are in no index file: %w; 'repair index' adopts them)", err, e)
	}
	return &w.stats, err
}

// encode compresses and seals frames until there are no more.
func (w *Writer) encode(ctx context.Context) error {
	enc := pack.NewEncoder(w.repo.keys)
	for o := range w.lanes {
		start := time.Now()
		sealed, err := enc.Encode(o, w.pace.compression())
		if err != nil {
			return err
		}
		full, err := w.add(ctx, o, sealed, time.Since(start))
		if err == nil && full != nil {
			err = w.handOver(ctx, full)
		}
		if err != nil {
			return err
		}
		w.spare.Put(o)
	}
	return nil
}

// add appends a frame to the pack being laid out, and returns that pack once it is full. encoding is the time that an
// encoder spent on the frame.
func (w *Writer) add(ctx context.Context, o *pack.Open, sealed []byte, encoding time.Duration) (full *pack.Builder, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.builder == nil {
		w.began = time.Now()
		select {
		case buf := <-w.bufs:
			if buf == nil {
				// Allocated at once, with room for the last frame and the table: growing would need twice the memory.
				buf = make([]byte, 0, w.repo.config.PackSize+w.repo.config.FrameSize+64<<10)
			}
			w.builder, w.waited, w.encoding = pack.NewBuilder(buf), time.Since(w.began), 0
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	w.builder.Add(o, sealed)
	w.encoding += encoding
	if !w.builder.Full(w.repo.config.PackSize) {
		return nil, nil
	}
	w.pace.pack(time.Since(w.began), w.waited, w.encoding)
	full, w.builder = w.builder, nil
	return full, nil
}

func (w *Writer) handOver(ctx context.Context, b *pack.Builder) error {
	select {
	case w.packs <- b:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// handOverLast passes on the last pack, once there are no more frames.
func (w *Writer) handOverLast(ctx context.Context) error {
	if w.builder == nil || ctx.Err() != nil {
		return nil // after an error, a partly filled pack is not worth the wait
	}
	return w.handOver(ctx, w.builder)
}

// upload makes packs durable, and regularly puts an index file for them. It returns the packs that are in no index file
// yet.
func (w *Writer) upload(ctx context.Context) (stored []index.PackTable, err error) {
	for b := range w.packs {
		file, id, table := b.Finish(w.repo.keys)
		par, err := w.repo.putPack(ctx, id, file)
		if err != nil {
			return stored, err
		}
		p := index.Pack{ID: id, Size: int64(len(file))}
		w.repo.view().index.AddPack(p, table)
		w.stats.Stored.Add(p.Size + par)
		stored = append(stored, index.PackTable{Pack: p, Table: table})
		w.bufs <- file[:0] // never blocks, because the memory came from there
		if fullIndex(stored) {
			if err := w.saveIndex(ctx, stored); err != nil {
				return stored, err
			}
			stored = nil
			r := w.repo
			if r.view().index.Recent() > max(r.maxRecent, r.view().index.Stored()/8) {
				r.mergeRun(ctx, r.view().index) // if it fails, the index stays as it was
			}
		}
	}
	return stored, nil
}

func (w *Writer) saveIndex(ctx context.Context, stored []index.PackTable) error {
	if len(stored) == 0 {
		return nil
	}
	id, size, err := w.repo.putIndex(ctx, &index.File{Packs: stored})
	if err == nil {
		w.stats.Stored.Add(size)
		w.repo.view().files.add(id, size)
		w.repo.view().index.AddSource(id, nil, stored)
	}
	return err
}
