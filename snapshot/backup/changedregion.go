package backup

import (
	"context"
	"fmt"
	"sort"

	"platter/chunk"
	"platter/snapshot/diskmap"
	"platter/snapshot/image"
)

// A changedWorker cuts regions in which only some ranges changed. It is not safe for concurrent use.
type changedWorker struct {
	*regionWorker
	disk image.Disk

	region0 int64           // offset of the region on the disk
	size    int64           // of the region
	zeros   []image.Extent  // in the region, in order: zero without being read
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
	if err := w.findZeros(ctx); err != nil {
		return err
	}
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
	if n := w.zerosAt(w.at); n >= chunk.MinZeroRun {
		w.cutter.Skip()
		w.addZeros(int(n))
		w.afterZ, w.at = true, w.at+n
		return nil
	}
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

// findZeros finds the runs of the region that are zero without being read.
func (w *changedWorker) findZeros(ctx context.Context) error {
	w.zeros = w.zeros[:0]
	for e, err := range image.ExtentsIn(ctx, w.disk, w.region0, w.size) {
		if err != nil {
			return err
		}
		if e.Off -= w.region0; !e.Zero || e.Len == 0 {
			continue
		}
		if last := len(w.zeros) - 1; last >= 0 && w.zeros[last].Off+w.zeros[last].Len == e.Off {
			w.zeros[last].Len += e.Len
		} else {
			w.zeros = append(w.zeros, e)
		}
	}
	return nil
}

// zerosAt returns how many bytes of the region from at on are zero blocks that need not be read.
func (w *changedWorker) zerosAt(at int64) int64 {
	i := sort.Search(len(w.zeros), func(i int) bool { return w.zeros[i].Off+w.zeros[i].Len > at })
	if i == len(w.zeros) || w.zeros[i].Off > at {
		return 0
	}
	return (w.zeros[i].Off + w.zeros[i].Len - at) &^ (chunk.Block - 1)
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
