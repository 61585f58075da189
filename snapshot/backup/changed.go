package backup

import (
	"context"
	"fmt"
	"iter"
	"sort"

	"golang.org/x/sync/errgroup"

	"platter/chunk"
	"platter/repo"
	"platter/snapshot"
	"platter/snapshot/diskmap"
	"platter/snapshot/image"
	"platter/snapshot/image/anatomy"
)

// Changed stores a disk of which only some ranges may differ from its parent, as Disk does. It reads those ranges and, at
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
	for job, err := range byRegion(changed, b.size) {
		if err == nil {
			job.before, err = upTo(job.region)
		}
		if err != nil {
			return err
		}
		select {
		case jobs <- job:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	_, err := upTo(diskmap.RegionCount(b.size))
	return err
}

// byRegion splits ranges of a disk of size bytes at the bounds of regions, and yields those of each region together.
func byRegion(ranges iter.Seq2[image.Extent, error], size int64) iter.Seq2[regionJob, error] {
	return func(yield func(regionJob, error) bool) {
		job, end := regionJob{region: -1}, int64(0)
		for e, err := range ranges {
			if err == nil && (e.Off < end || e.Len < 0 || e.Len > size-e.Off) {
				err = fmt.Errorf("changed range of %d bytes at %d: it is out of order, or not on the disk", e.Len, e.Off)
			}
			if err != nil {
				yield(regionJob{}, err)
				return
			}
			for end = e.Off + e.Len; e.Len > 0; {
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

// A changedWorker cuts regions of which only some ranges changed. It is not safe for concurrent use.
type changedWorker struct {
	*regionWorker
	disk image.Disk

	region0 int64           // offset of the region on the disk
	size    int64           // of the region
	changes []image.Extent  // on the disk, in order
	parent  []diskmap.Place // its pieces of the region; offsets are in the region
	afterZ  bool            // the last piece was zeros

	buf    []byte
	start  int64 // of the bytes in buf, in the region
	inside int   // bytes in buf
}

func newChangedWorker(b *run, disk image.Disk) (*changedWorker, error) {
	cutter, err := b.repo.Cutter()
	if err != nil {
		return nil, err
	}
	w := &regionWorker{run: b, cutter: cutter, lane: b.writer.Lane(), ahead: &ahead{}}
	return &changedWorker{regionWorker: w, disk: disk, buf: make([]byte, cutter.Need())}, nil
}

// region cuts a region and adds its page to the tree.
func (w *changedWorker) region(ctx context.Context, job regionJob) error {
	pieces, err := w.run.parent.Page(ctx, job.region, job.before)
	if err != nil {
		return err
	}
	w.region0, w.size = job.region*diskmap.RegionSize, diskmap.RegionLen(w.run.size, job.region)
	w.changes, w.start, w.inside, w.afterZ = job.data, 0, 0, false
	w.place(pieces)
	w.cutter.Reset()
	w.pieces, w.at = w.pieces[:0], 0
	for w.at < w.size {
		taken, err := w.take(ctx)
		if err == nil && !taken {
			err = w.cutOne(ctx)
		}
		if err != nil {
			return err
		}
	}
	return w.savePage(ctx, job.region)
}

// place finds the parent's pieces in the region, and which of its bytes are still unreadable. They no longer count as data
// and as unreadable, until the region is cut.
func (w *changedWorker) place(pieces []diskmap.Piece) {
	w.parent, w.ahead.bad = w.parent[:0], w.ahead.bad[:0]
	off := int64(0)
	for _, q := range pieces {
		p := diskmap.Place{Piece: q, Off: off}
		off = p.End()
		w.parent = append(w.parent, p)
		switch q.Kind {
		case diskmap.Data:
			w.run.data.Add(-int64(q.Len))
		case diskmap.Unreadable:
			w.run.bad.Add(-int64(q.Len))
			w.ahead.bad = append(w.ahead.bad, w.unchangedIn(p.Off, p.End())...)
		}
	}
}

// unchangedIn returns the parts of a run of the region that did not change.
func (w *changedWorker) unchangedIn(from, to int64) (parts []image.Extent) {
	for _, e := range w.changes {
		off := e.Off - w.region0
		if off > from && from < to {
			parts = append(parts, image.Extent{Off: from, Len: min(off, to) - from})
		}
		from = max(from, off+e.Len)
	}
	if from < to {
		parts = append(parts, image.Extent{Off: from, Len: to - from})
	}
	return parts
}

// take takes over the parent's piece at w.at, if the cutter would make the same one. That needs not only the piece's own
// bytes. Zeros may have begun or ended right before it, or a zero run may begin in its last blocks and go on after it.
func (w *changedWorker) take(ctx context.Context) (bool, error) {
	i := sort.Search(len(w.parent), func(i int) bool { return w.parent[i].Off >= w.at })
	if i == len(w.parent) || w.parent[i].Off != w.at || !w.isSame(i) {
		return false, nil
	}
	p := w.parent[i]
	if p.Kind == diskmap.Data {
		if err := w.keep(ctx, p); err != nil {
			return false, err
		}
	} else {
		w.addZeros(int(p.Len))
	}
	w.afterZ = p.Kind == diskmap.Zeros
	w.cutter.Resume(w.afterZ)
	w.at = p.End()
	return true, nil
}

// keep adds a chunk of the parent. If the repository lacks it, as after damage, it is read and stored again.
func (w *changedWorker) keep(ctx context.Context, p diskmap.Place) error {
	w.pieces = append(w.pieces, p.Piece)
	w.run.data.Add(int64(p.Len))
	return w.lane.SaveFrom(ctx, p.ID, func() ([]byte, error) {
		data := make([]byte, p.Len)
		if err := w.read(ctx, data, p.Off); err != nil {
			return nil, err
		}
		if w.lane.Name(data) != p.ID {
			return nil, fmt.Errorf("%d bytes at %d were said to be unchanged, and they are not", p.Len, w.region0+p.Off)
		}
		return data, nil
	})
}

// isSame reports whether the cutter would make the parent's piece i again.
func (w *changedWorker) isSame(i int) bool {
	p := w.parent[i]
	if i > 0 && (w.parent[i-1].Kind == diskmap.Zeros) != w.afterZ {
		return false
	}
	for _, near := range w.parent[max(i-1, 0):min(i+2, len(w.parent))] { // beside unreadable bytes are remnants of chunks
		if near.Kind == diskmap.Unreadable {
			return false
		}
	}
	return !w.hasChange(p.Off, min(p.End()+chunk.MinZeroRun, w.size))
}

// hasChange reports whether a run of the region has changed bytes.
func (w *changedWorker) hasChange(from, to int64) bool {
	from, to = from+w.region0, to+w.region0
	i := sort.Search(len(w.changes), func(i int) bool { return w.changes[i].Off+w.changes[i].Len > from })
	return i < len(w.changes) && w.changes[i].Off < to
}

// cutOne reads what the cutter needs to see, and adds the piece that it makes.
func (w *changedWorker) cutOne(ctx context.Context) error {
	held, err := w.view(ctx)
	if err != nil {
		return err
	}
	n, zero := w.cutter.Next(held, w.at+int64(len(held)) == w.size)
	if zero {
		w.addZeros(n)
	} else if err := w.addChunk(ctx, w.lane.Name(held[:n]), held[:n]); err != nil {
		return err
	}
	w.afterZ = zero
	w.at += int64(n)
	return nil
}

// view returns the bytes from w.at on: as many as the cutter needs, or all that are left of the region.
func (w *changedWorker) view(ctx context.Context) ([]byte, error) {
	kept := 0
	if end := w.start + int64(w.inside); w.start <= w.at && w.at < end {
		kept = copy(w.buf, w.buf[w.at-w.start:w.inside])
	}
	w.start, w.inside = w.at, kept
	need := int(min(int64(len(w.buf)), w.size-w.at))
	if err := w.read(ctx, w.buf[kept:need], w.at+int64(kept)); err != nil {
		return nil, err
	}
	w.inside = need
	return w.buf[:need], nil
}

// read reads bytes of the region. Unreadable ones are zeros.
func (w *changedWorker) read(ctx context.Context, p []byte, at int64) error {
	end := at + int64(len(p))
	part := func(from, to int64) error {
		if from >= to {
			return nil
		}
		n, err := image.ReadAt(ctx, w.disk, p[from-at:to-at], w.region0+from)
		if int64(n) < to-from {
			return fmt.Errorf("read at %d: %w", w.region0+from+int64(n), err)
		}
		w.run.read.Add(int64(n))
		return nil
	}
	from := at
	for _, bad := range w.ahead.bad {
		if bad.Off >= end || bad.Off+bad.Len <= from {
			continue
		}
		if err := part(from, max(bad.Off, from)); err != nil {
			return err
		}
		from, bad.Off = min(bad.Off+bad.Len, end), max(bad.Off, from)
		clear(p[bad.Off-at : from-at])
	}
	return part(from, end)
}
