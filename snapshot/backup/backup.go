// Package backup keeps disks and streams as snapshots. A byte on its way from a source to a pack:
//
//	Disk, Stream          take the lease, and commit the snapshot last       backup.go
//	  run.disk            hands regions that may hold data to a worker a core  readdisk.go, region.go
//	  run.stream          has one worker, since a stream has one place         readstream.go
//	    ahead.slot        reads in front of the cutter, into a ring            ahead.go, ring.go
//	      source.fill     reads 1 MiB, or skips a hole                         readdisk.go
//	      source.rescue   reads around media errors                            bad.go
//	    regionWorker.cut  asks the parent's page, then chunk.Cutter, for cuts  cut.go, guide.go
//	      repo.Lane.Save  stores a chunk that is new: see repo/write.go
//	    run.saveMap       stores the region's page
//	  Builder.Finish      stores the nodes over the pages, and returns the root
//	  Snapshot.Save       commits
//
// Of several faults the first on the disk is the one returned, whichever worker met which first (fault.go).
package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"platter/chunk"
	"platter/repo"
	"platter/snapshot"
	"platter/snapshot/diskmap"
	"platter/snapshot/image"
	"platter/snapshot/image/anatomy"
)

// A Repository is what a backup needs of one. A *repo.Repo is one.
type Repository interface {
	Cutting
	snapshot.Chunks // the parent's map
	snapshot.Frames // the disk of a stream, which is read once more for its partitions
	snapshot.Putter // the commit
	// WithLease runs fn while a lease says that work is under way.
	WithLease(ctx context.Context, work repo.Work, fn func(context.Context) error) error
	// Write runs fn, which may save chunks through the Writer. It returns when they are durable and in the index.
	Write(ctx context.Context, fn func(context.Context, *repo.Writer) error) (*repo.Stats, error)
	// IsDry reports whether nothing is stored, and so nothing can be read back.
	IsDry() bool
}

// Cutting is what cutting a disk needs of a repository, wherever its chunks go.
type Cutting interface {
	// Workers is how many cores may be used.
	Workers() int
	// Cutter returns a cutter that cuts where all of the repository's chunks are cut.
	Cutter() (*chunk.Cutter, error)
	// Namer returns a Namer for chunks of a kind, until Return.
	Namer(kind chunk.Kind) *chunk.Namer
	Return(kind chunk.Kind, n *chunk.Namer)
}

var _ Repository = (*repo.Repo)(nil)

// Disk keeps a disk as a new snapshot. s says who, when and what; Disk adds the rest and stores it last. parent, which
// may be nil, is a version of the disk that makes it faster to cut this one. A disk that changed its size meanwhile is an
// error that wraps image.ErrResized; one that was only written to is kept and marked, and so is one that s says is Modified. What cannot be read is an error, but of
// an image.Retrying it is kept as unreadable.
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
		b.anatomy = anatomy.Read(disk, s.Source.TableSector()) // before the last look at whether the disk changes, which then covers this as well
		return b.unchanged(disk)
	}, p)
}

// Stream keeps what src yields until its end as a disk. If the backup fails while src is waited for, and src is an
// io.Closer, it is closed, so that the wait ends.
func Stream(ctx context.Context, r Repository, src io.Reader, parent, s *snapshot.Snapshot, p *repo.Progress) error {
	return backup(ctx, r, parent, s, func(ctx context.Context, b *run) error { return b.stream(ctx, src) }, p)
}

// backup runs read, which cuts every region of the source and sets the size, and commits what came of it under the same
// lease.
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
		if s.Anatomy == nil && !r.IsDry() { // a stream cannot be looked at twice, and what was made of it can
			if s.Anatomy, err = s.ReadAnatomy(ctx, r); err != nil {
				return err
			}
		}
		return s.Save(ctx, r)
	})
}

// store stores what read cuts, and the map of it. It returns the map's root.
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

// describe fills in the snapshot.
func (b *run) describe(s, parent *snapshot.Snapshot, root chunk.ID, stats *repo.Stats, took time.Duration) {
	if parent != nil {
		s.Parent = &parent.ID
	}
	s.Root, s.Size, s.Anatomy = root, b.size, b.anatomy
	s.Modified, s.Unreadable = s.Modified || b.modified, b.bad.Load()
	s.Stats = snapshot.Stats{Data: b.data.Load(), Read: b.read.Load(), New: stats.Raw.Load(), Stored: stats.Stored.Load(),
		Millis: took.Milliseconds()}
}

// A run is one backup under way.
type run struct {
	repo     Cutting
	writer   *repo.Writer
	progress *repo.Progress
	parent   *diskmap.Map        // nil when there is none
	only     func(chunk.ID) bool // which chunks are stored; nil for all that are new
	tree     diskmap.Builder
	data     atomic.Int64 // bytes in chunks
	read     atomic.Int64 // bytes read from the source
	bad      atomic.Int64 // bytes that could not be read
	size     int64
	modified bool
	anatomy  *anatomy.Disk // nil where the source was not looked at
}

// saveMap stores a page or a node and returns its id.
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

// unchanged tells a disk that changed under the backup from one that did not.
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
