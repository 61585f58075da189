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

// Disk keeps a disk as a new snapshot. s says who, when and what; Disk adds the rest and stores it last. parent, which
// may be nil, is a version of the disk that makes it faster to cut this one. A disk that changed its size meanwhile is an
// error that wraps image.ErrResized; one that was only written to is kept and marked, and so is one that s says is Modified. What cannot be read is an error, but of
// an image.Retrying it is kept as unreadable.
func Disk(ctx context.Context, r *repo.Repo, disk image.Disk, parent, s *snapshot.Snapshot, p *repo.Progress) error {
	if seq, ok := disk.(image.Sequential); ok {
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
		if retrying, ok := disk.(*image.Retrying); ok {
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
func Stream(ctx context.Context, r *repo.Repo, src io.Reader, parent, s *snapshot.Snapshot, p *repo.Progress) error {
	return backup(ctx, r, parent, s, func(ctx context.Context, b *run) error { return b.stream(ctx, src) }, p)
}

// backup runs read, which cuts every region of the source and sets the size, and commits what came of it under the same
// lease.
func backup(ctx context.Context, r *repo.Repo, parent, s *snapshot.Snapshot, read func(context.Context, *run) error, p *repo.Progress) error {
	return r.WithLease(ctx, repo.BackingUp, func(ctx context.Context) error {
		start, b := time.Now(), &run{repo: r, progress: p}
		if parent != nil {
			b.parent = parent.Map(r)
		}
		root, stats, err := b.store(ctx, read)
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
func (b *run) store(ctx context.Context, read func(context.Context, *run) error) (root chunk.ID, stats *repo.Stats, err error) {
	stats, err = b.repo.Write(ctx, func(ctx context.Context, w *repo.Writer) (err error) {
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
	repo     *repo.Repo
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
	detector, ok := disk.(image.ChangeDetector)
	if !ok {
		return nil
	}
	err := detector.Changed()
	if errors.Is(err, image.ErrModified) && !errors.Is(err, image.ErrResized) {
		b.modified, err = true, nil
	}
	return err
}
