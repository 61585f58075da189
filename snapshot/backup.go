package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"platter/chunk"
	"platter/repo"
	"platter/snapshot/image"
)

// Backup keeps a disk as a new snapshot. s says who, when and what; Backup adds the rest and stores it last. A disk that
// changed its size meanwhile is an error that wraps image.ErrResized; one that was only written to is kept and marked.
func Backup(ctx context.Context, r *repo.Repo, disk image.Disk, s *Snapshot, p *repo.Progress) error {
	for e, err := range disk.Extents() {
		if err != nil {
			return fmt.Errorf("find the data of %s: %w", s.Source.Path, err)
		}
		if !e.Zero {
			p.Expect(e.Len)
		}
	}
	return backup(ctx, r, s, func(ctx context.Context, b *run) error {
		if err := b.disk(ctx, disk); err != nil {
			return err
		}
		b.size = disk.Size()
		return b.unchanged(disk)
	}, p)
}

// BackupStream keeps what src yields until its end as a disk.
func BackupStream(ctx context.Context, r *repo.Repo, src io.Reader, s *Snapshot, p *repo.Progress) error {
	return backup(ctx, r, s, func(ctx context.Context, b *run) error { return b.stream(ctx, src) }, p)
}

// backup runs read, which cuts every region of the source and sets the size, and commits what came of it.
func backup(ctx context.Context, r *repo.Repo, s *Snapshot, read func(context.Context, *run) error, p *repo.Progress) error {
	start := time.Now()
	b := &run{repo: r, progress: p}
	stats, err := r.Write(ctx, func(ctx context.Context, w *repo.Writer) (err error) {
		b.writer = w
		if err := read(ctx, b); err != nil {
			return err
		}
		s.Root, err = b.tree.finish(ctx, b.size, w.SaveMap)
		return err
	})
	if err != nil {
		return fmt.Errorf("back up %s: %w", s.Source.Path, err)
	}
	s.Size, s.Modified = b.size, b.modified
	s.Stats = Stats{Data: b.data.Load(), Read: b.read.Load(), New: stats.Raw.Load(), Stored: stats.Stored.Load(),
		Millis: time.Since(start).Milliseconds()}
	return s.save(ctx, r)
}

// A run is one backup under way.
type run struct {
	repo     *repo.Repo
	writer   *repo.Writer
	progress *repo.Progress
	tree     treeBuilder
	data     atomic.Int64 // bytes in chunks
	read     atomic.Int64 // bytes read from the source
	size     int64
	modified bool
}

// unchanged tells a disk that changed under the backup from one that did not.
func (b *run) unchanged(disk image.Disk) error {
	steady, ok := disk.(image.Steady)
	if !ok {
		return nil
	}
	err := steady.Changed()
	if errors.Is(err, image.ErrModified) {
		b.modified, err = true, nil
	}
	return err
}

// disk cuts all regions of a disk that may hold data, on all cores.
func (b *run) disk(ctx context.Context, disk image.Disk) error {
	jobs := make(chan regionJob)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(jobs)
		return feed(ctx, disk, jobs)
	})
	for range b.repo.Workers() {
		g.Go(func() error {
			w, err := b.worker()
			if err != nil {
				return err
			}
			for job := range jobs {
				if err := w.region(ctx, job.region, &regionReader{disk: disk, job: job, run: b}); err != nil {
					return err
				}
			}
			return w.lane.Close(ctx)
		})
	}
	return g.Wait()
}

// stream cuts a stream, one region after the other; compressing still takes all cores.
func (b *run) stream(ctx context.Context, src io.Reader) error {
	w, err := b.worker()
	if err != nil {
		return err
	}
	for region := int64(0); ; region++ {
		before := b.size
		in := io.LimitReader(src, RegionSize)
		if err := w.region(ctx, region, &countingReader{in, b}); err != nil {
			return err
		}
		if b.size-before < RegionSize {
			return w.lane.Close(ctx)
		}
	}
}

// countingReader counts what a stream yielded.
type countingReader struct {
	io.Reader
	run *run
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.run.size += int64(n)
	c.run.read.Add(int64(n))
	c.run.progress.Add(int64(n))
	return n, err
}

// A regionWorker turns regions into pages. It is not safe for concurrent use.
type regionWorker struct {
	run    *run
	cutter *chunk.Cutter
	lane   *repo.Lane
	buf    []byte
	pieces []piece
	page   []byte
}

// readAhead is how much of a region a worker holds beyond what the cutter needs, in bytes.
const readAhead = 1 << 20

func (b *run) worker() (*regionWorker, error) {
	cutter, err := b.repo.Cutter()
	if err != nil {
		return nil, err
	}
	return &regionWorker{run: b, cutter: cutter, lane: b.writer.Lane(), buf: make([]byte, cutter.Need()+readAhead)}, nil
}

// region cuts one region, saves what is new, and hangs its page into the tree.
func (w *regionWorker) region(ctx context.Context, region int64, src io.Reader) error {
	if err := w.cut(ctx, src); err != nil {
		return err
	}
	if len(w.pieces) == 0 || len(w.pieces) == 1 && w.pieces[0].kind == zeroPiece {
		return nil
	}
	w.page = appendPage(w.page[:0], w.pieces)
	id, err := w.run.writer.SaveMap(ctx, w.page)
	w.run.tree.set(region, id)
	return err
}

// cut reads src to its end and leaves its pieces in w.pieces.
func (w *regionWorker) cut(ctx context.Context, src io.Reader) error {
	w.cutter.Reset()
	w.pieces = w.pieces[:0]
	held, final := w.buf[:0], false // what was read and not yet cut
	for {
		if !final && len(held) < w.cutter.Need() {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			have := copy(w.buf, held)
			n, err := io.ReadFull(src, w.buf[have:])
			if final = err == io.EOF || err == io.ErrUnexpectedEOF; err != nil && !final {
				return err
			}
			held = w.buf[:have+n]
		}
		if len(held) == 0 {
			return nil
		}
		n, zero := w.cutter.Next(held, final)
		if err := w.add(ctx, held[:n], zero); err != nil {
			return err
		}
		held = held[n:]
	}
}

func (w *regionWorker) add(ctx context.Context, data []byte, zero bool) error {
	n := uint32(len(data))
	if zero {
		if last := len(w.pieces) - 1; last >= 0 && w.pieces[last].kind == zeroPiece {
			w.pieces[last].len += n
		} else {
			w.pieces = append(w.pieces, piece{kind: zeroPiece, len: n})
		}
		return nil
	}
	id, _, err := w.lane.Save(ctx, data)
	w.pieces = append(w.pieces, piece{kind: dataPiece, len: n, id: id})
	w.run.data.Add(int64(n))
	return err
}
