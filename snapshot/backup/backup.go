// Package backup keeps disks and streams as snapshots. A byte on its way from a source to a pack goes down through this
// file and cut.go:
//
//	Disk, Stream                 backup.go: take the lease, and commit the snapshot last
//	  run.store                  writes chunks, then the nodes over the pages: the root
//	    run.disk, run.feed       hand regions that may hold data to a worker a core
//	    run.stream               has one worker, since a stream has one place
//	      regionWorker.region    cut.go: makes a region's page, and saves it
//	        regionWorker.cut     splits the region into pieces, from the bytes that ahead has in view
//	        regionWorker.piece   asks the parent's page, then chunk.Cutter, for the next cut
//	        regionWorker.save    hands a chunk to repo.Lane.Save, which stores it if it is new: see repo/write.go
//	  run.describe               fills in the snapshot
//	  Snapshot.Save              commits it
//
// The leaves, which these two files call:
//
//	ahead.go, ring.go            read ahead of the cutter, into a ring of slots of 1 MiB
//	readdisk.go, readstream.go   fill a slot: skip holes, and read around media errors
//	guide.go                     finds a region's page and chunks in the parent version
//	bad.go                       tells the cutter which bytes are unreadable
//	fault.go                     of several faults returns the first on the disk, whichever worker met which first
package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"platter/chunk"
	"platter/repo"
	"platter/snapshot"
	"platter/snapshot/diskmap"
	"platter/snapshot/image"
	"platter/snapshot/image/anatomy"
)

// A Repository is the part of a *repo.Repo that a backup needs.
type Repository interface {
	Cutting
	snapshot.Chunks // the parent's map
	snapshot.Frames // to read the stored disk of a stream for its partitions
	snapshot.Putter // the commit
	// WithLease runs fn while it holds a lease for the work.
	WithLease(ctx context.Context, work repo.Work, fn func(context.Context) error) error
	// Write runs fn, which may save chunks through the Writer. It returns once they are durable and in the index.
	Write(ctx context.Context, fn func(context.Context, *repo.Writer) error) (*repo.Stats, error)
	// IsDry reports whether nothing is stored, and so nothing can be read back.
	IsDry() bool
}

// Cutting is the part of a *repo.Repo that cutting a disk needs.
type Cutting interface {
	// Workers is the number of cores to use.
	Workers() int
	// Cutter returns a chunk cutter with the repository's secret polynomial.
	Cutter() (*chunk.Cutter, error)
	// Namer returns a Namer for chunks of a kind. The caller hands it to Return.
	Namer(kind chunk.Kind) *chunk.Namer
	Return(kind chunk.Kind, n *chunk.Namer)
}

var _ Repository = (*repo.Repo)(nil)

// Disk stores a disk as a new snapshot. s has its name, host, time and source; Disk adds the rest, and stores s last.
// parent, which may be nil, is a version of the disk that makes cutting faster. If the disk changed its size meanwhile,
// the error wraps image.ErrResized. A disk that was only written to is stored and marked as modified. A range that cannot
// be read is an error, unless the disk is an image.Retrying: then it is stored as unreadable.
func Disk(ctx context.Context, r Repository, disk image.Disk, parent, s *snapshot.Snapshot, p *repo.Progress) error {
	if seq, ok := image.As[image.Sequential](disk); ok {
		seq.ReadSequentially()
	}
	for e, err := range disk.Extents() {
		if err != nil {
			return fmt.Errorf("find the data of %s: %w", s.Source.Path, err)
		}
		if !e.Zero {
			p.Expect(e.Len)
		}
	}
	return backup(ctx, r, parent, s, func(ctx context.Context, b *run) error {
		if err := b.disk(ctx, disk); err != nil {
			return err
		}
		if retrying, ok := image.As[*image.Retrying](disk); ok {
			if err := retrying.Answers(ctx); err != nil {
				return err
			}
		}
		b.size = disk.Size()
		b.anatomy = anatomy.Read(disk, s.Source.TableSector()) // before the last change detection, which then covers this read too
		return b.unchanged(disk)
	}, p)
}

// Stream stores the bytes of src, up to its end, as a disk. If the backup fails while it waits for src, and src is an
// io.Closer, it closes src to end the wait.
func Stream(ctx context.Context, r Repository, src io.Reader, parent, s *snapshot.Snapshot, p *repo.Progress) error {
	return backup(ctx, r, parent, s, func(ctx context.Context, b *run) error { return b.stream(ctx, src) }, p)
}

// backup runs read, which cuts every region of the source and sets the size. It commits the snapshot under the same lease.
func backup(ctx context.Context, r Repository, parent, s *snapshot.Snapshot, read func(context.Context, *run) error, p *repo.Progress) error {
	return r.WithLease(ctx, repo.BackingUp, func(ctx context.Context) error {
		start, b := time.Now(), &run{repo: r, progress: p}
		if parent != nil {
			b.parent = parent.Map(r)
		}
		root, stats, err := b.store(ctx, r, read)
		if err != nil {
			return fmt.Errorf("back up %s: %w", s.Source.Path, err)
		}
		b.describe(s, parent, root, stats, time.Since(start))
		if s.Anatomy == nil && !r.IsDry() { // a stream cannot be read twice, but the stored disk can
			if s.Anatomy, err = s.ReadAnatomy(ctx, r); err != nil {
				return err
			}
		}
		return s.Save(ctx, r)
	})
}

// A run is one backup under way.
type run struct {
	repo     Cutting
	writer   *repo.Writer
	progress *repo.Progress
	parent   *diskmap.Map        // nil for none
	only     func(chunk.ID) bool // which chunks are stored; nil for all that are new
	tree     diskmap.Builder
	data     atomic.Int64 // bytes in chunks
	read     atomic.Int64 // bytes read from the source
	bad      atomic.Int64 // bytes that could not be read
	size     int64
	modified bool
	anatomy  *anatomy.Disk // nil for a stream
}

// store stores the chunks that read cuts, and their map. It returns the root of the map.
func (b *run) store(ctx context.Context, r Repository, read func(context.Context, *run) error) (root chunk.ID, stats *repo.Stats, err error) {
	stats, err = r.Write(ctx, func(ctx context.Context, w *repo.Writer) (err error) {
		b.writer = w
		if err := read(ctx, b); err != nil {
			return err
		}
		root, err = b.tree.Finish(ctx, b.size, b.saveMap)
		return err
	})
	return root, stats, err
}

// disk cuts all regions of a disk that may hold data, on all cores.
func (b *run) disk(ctx context.Context, disk image.Disk) error {
	jobs := make(chan regionJob)
	g, ctx := errgroup.WithContext(ctx)
	feeding, stop := context.WithCancel(ctx)
	defer stop()
	first := &firstFault{found: stop}
	g.Go(func() error {
		defer close(jobs)
		err := b.feed(feeding, disk, jobs)
		if first.err() != nil {
			return nil
		}
		return err
	})
	for range b.repo.Workers() {
		g.Go(func() error {
			err := b.work(ctx, newDiskReader(disk, b, jobs, first))
			if bad := (*fault)(nil); errors.As(err, &bad) {
				first.add(bad)
				return nil
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return first.err()
}

// A regionJob is a region that may hold data, and its extents.
type regionJob struct {
	region int64
	before chunk.ID       // its page in the parent version; zero if there is none
	data   []image.Extent // in order, none of them zero
}

// feed sends the regions of a disk that may hold data, in order. Regions of holes cost nothing.
func (b *run) feed(ctx context.Context, disk image.Disk, jobs chan<- regionJob) error {
	old := newGuide(ctx, b.parent)
	defer old.stop()
	for job, err := range byRegion(disk.Extents()) {
		if err != nil {
			return err
		}
		job.before = old.page(job.region)
		if err := job.send(ctx, jobs); err != nil {
			return err
		}
	}
	return nil
}

// send sends a job, unless ctx ends before a worker takes it.
func (j regionJob) send(ctx context.Context, jobs chan<- regionJob) error {
	select {
	case jobs <- j:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// byRegion splits extents at the bounds of regions, and yields those of each region together, without zeros.
func byRegion(extents iter.Seq2[image.Extent, error]) iter.Seq2[regionJob, error] {
	return func(yield func(regionJob, error) bool) {
		job := regionJob{region: -1}
		for e, err := range extents {
			if err != nil {
				yield(regionJob{}, err)
				return
			}
			for !e.Zero && e.Len > 0 {
				region := e.Off / diskmap.RegionSize
				n := min(e.Len, (region+1)*diskmap.RegionSize-e.Off)
				if region != job.region {
					if job.region >= 0 && !yield(job, nil) {
						return
					}
					job = regionJob{region: region}
				}
				job.data = append(job.data, image.Extent{Off: e.Off, Len: n})
				e.Off, e.Len = e.Off+n, e.Len-n
			}
		}
		if job.region >= 0 {
			yield(job, nil)
		}
	}
}

// stream cuts a stream, one region after another; compression still uses all cores.
func (b *run) stream(ctx context.Context, src io.Reader) error {
	old := newGuide(ctx, b.parent)
	defer old.stop()
	return b.work(ctx, &streamReader{src: src, run: b, old: old, region: -1, off: diskmap.RegionSize})
}

// saveMap stores a page or a node and returns its ID.
func (b *run) saveMap(ctx context.Context, data []byte) (chunk.ID, error) {
	if b.only != nil {
		namer := b.repo.Namer(chunk.Map)
		id := namer.ID(data)
		b.repo.Return(chunk.Map, namer)
		if !b.only(id) {
			return id, nil
		}
	}
	return b.writer.SaveMap(ctx, data)
}

// unchanged notes that the disk was written to during the backup. A changed size is an error.
func (b *run) unchanged(disk image.Disk) error {
	detector, ok := image.As[image.ChangeDetector](disk)
	if !ok {
		return nil
	}
	err := detector.Changed()
	if errors.Is(err, image.ErrModified) && !errors.Is(err, image.ErrResized) {
		b.modified, err = true, nil
	}
	return err
}

// describe fills in the snapshot.
func (b *run) describe(s, parent *snapshot.Snapshot, root chunk.ID, stats *repo.Stats, took time.Duration) {
	if parent != nil {
		s.Parent = &parent.ID
	}
	s.Root, s.Size, s.Anatomy = root, b.size, b.anatomy
	s.Modified, s.Unreadable = s.Modified || b.modified, b.bad.Load()
	s.Stats = snapshot.Stats{
		Data: b.data.Load(), Read: b.read.Load(), New: stats.Raw.Load(), Stored: stats.Stored.Load(),
		Millis: took.Milliseconds(),
	}
}
