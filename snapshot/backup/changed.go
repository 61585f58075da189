package backup

import (
	"context"
	"fmt"
	"iter"

	"golang.org/x/sync/errgroup"

	"platter/chunk"
	"platter/repo"
	"platter/snapshot"
	"platter/snapshot/diskmap"
	"platter/snapshot/image"
	"platter/snapshot/image/anatomy"
)

// Changed stores a disk as Disk does, where only some ranges may differ from its parent. It reads those ranges and, at
// most, the chunks around them; all else is taken from the parent's map. changed is in order, and its extents do not
// overlap. The caller keeps the parent from being forgotten. The result is that of Disk, page for page.
//
// What was unreadable in the parent and did not change is not read, and stays unreadable.
func Changed(ctx context.Context, r Repository, disk image.Disk, changed iter.Seq2[image.Extent, error], parent, s *snapshot.Snapshot, p *repo.Progress) error {
	if disk.Size() != parent.Size {
		return fmt.Errorf("%w: %d bytes, and the version that it was made from has %d", image.ErrResized, disk.Size(), parent.Size)
	}
	return backup(ctx, r, parent, s, func(ctx context.Context, b *run) error {
		b.size = disk.Size()
		b.data.Store(parent.Stats.Data) // region takes off what it cuts again
		b.bad.Store(parent.Unreadable)
		if err := b.changed(ctx, disk, changed); err != nil {
			return err
		}
		b.anatomy = anatomy.Read(disk, s.Source.TableSector())
		return ctx.Err()
	}, p)
}

// changed takes the parent's pages of regions without a change, and cuts the others.
func (b *run) changed(ctx context.Context, disk image.Disk, changed iter.Seq2[image.Extent, error]) error {
	jobs := make(chan regionJob)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(jobs)
		return b.feedChanged(ctx, changed, jobs)
	})
	for range b.repo.Workers() {
		g.Go(func() error {
			w, err := newChangedWorker(b, disk)
			if err != nil {
				return err
			}
			for job := range jobs {
				if err := w.region(ctx, job); err != nil {
					return err
				}
			}
			return w.lane.Close(ctx)
		})
	}
	return g.Wait()
}

// feedChanged sends the regions with changes, each with its changed ranges, and records the pages of the others.
func (b *run) feedChanged(ctx context.Context, changed iter.Seq2[image.Extent, error], jobs chan<- regionJob) error {
	next, stop := iter.Pull2(b.parent.Regions(ctx))
	defer stop()
	old, failed, more := next()
	// upTo records the parent's pages of the regions before one, and returns the page of that region.
	upTo := func(region int64) (page chunk.ID, err error) {
		for more && failed == nil && old.Index < region {
			b.tree.Set(old.Index, old.Page)
			old, failed, more = next()
		}
		if more && failed == nil && old.Index == region {
			page = old.Page
			old, failed, more = next()
		}
		return page, failed
	}
	for job, err := range byRegion(inOrder(changed, b.size)) {
		if err == nil {
			job.before, err = upTo(job.region)
		}
		if err == nil {
			err = job.send(ctx, jobs)
		}
		if err != nil {
			return err
		}
	}
	_, err := upTo(diskmap.RegionCount(b.size))
	return err
}

// inOrder yields changed ranges, and an error if one is out of order or not on the disk. A range that became zeros counts as
// one that was written.
func inOrder(changed iter.Seq2[image.Extent, error], size int64) iter.Seq2[image.Extent, error] {
	return func(yield func(image.Extent, error) bool) {
		end := int64(0)
		for e, err := range changed {
			if err == nil && (e.Off < end || e.Len < 0 || e.Len > size-e.Off) {
				err = fmt.Errorf("changed range of %d bytes at %d: it is out of order, or not on the disk", e.Len, e.Off)
			}
			end, e.Zero = e.Off+e.Len, false
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}
