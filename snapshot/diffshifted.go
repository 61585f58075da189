package snapshot

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"

	"platter/chunk"
	"platter/snapshot/diskmap"
)

// compareSize is how many bytes of a part are read and compared at once. A frame holds many chunks, and one read serves
// all of them.
const compareSize = 8 << 20

// A shiftedDiffer compares parts at different offsets of their disks. Chunks are cut by content, so most equal data has
// equal chunk IDs and is not read. But regions start at different places.
type shiftedDiffer struct {
	ctx        context.Context
	a, b       *Disk
	inA, inB   *diskmap.Map // maps of parts of equal length
	bufA, bufB []byte
	doubtful   diskmap.Range // a range on which the maps disagree, not read yet
	out        diskmap.Runs
}

// newShiftedDiffer prepares to compare the first n bytes of both parts.
func newShiftedDiffer(ctx context.Context, r Reader, a, b *Snapshot, inA, inB Part, n int64) (*shiftedDiffer, error) {
	d := &shiftedDiffer{ctx: ctx, bufA: make([]byte, compareSize), bufB: make([]byte, compareSize)}
	frames := r.Frames(DefaultFrames)
	var err error
	if d.a, err = a.OpenOn(ctx, frames); err != nil {
		return nil, err
	}
	if d.b, err = b.OpenOn(ctx, frames); err != nil {
		return nil, err
	}
	if d.inA, err = a.MapOf(r, Part{Off: inA.Off, Len: n}); err != nil {
		return nil, err
	}
	d.inB, err = b.MapOf(r, Part{Off: inB.Off, Len: n})
	return d, err
}

// A partRun is a piece of a map, or a part of one. Its offset counts from the start of the part.
type partRun struct {
	diskmap.Piece
	off, len int64
	whole    bool // the run is the whole piece
}

func (d *shiftedDiffer) run() error {
	nextA, stopA := iter.Pull2(partRuns(d.ctx, d.inA))
	defer stopA()
	nextB, stopB := iter.Pull2(partRuns(d.ctx, d.inB))
	defer stopB()
	var a, b partRun
	from, to := d.inA.Within()
	n := to - from
	for at := int64(0); at < n; {
		var err error
		if a, err = seekRun(nextA, a, at); err != nil {
			return err
		}
		if b, err = seekRun(nextB, b, at); err != nil {
			return err
		}
		next := min(a.off+a.len, b.off+b.len)
		switch {
		case a.Kind == b.Kind && (a.Kind != diskmap.Data || a.whole && b.whole && a.off == b.off && a.ID == b.ID && a.len == b.len):
		case a.Kind == diskmap.Unreadable || b.Kind == diskmap.Unreadable: // unreadable bytes may be anything
			if err := d.readDoubtful(); err != nil {
				return err
			}
			d.out.Add(at, next-at)
		default:
			if err := d.suspect(at, next-at); err != nil {
				return err
			}
		}
		at = next
	}
	return d.readDoubtful()
}

// seekRun advances to the run that holds byte at.
func seekRun(next func() (partRun, error, bool), now partRun, at int64) (partRun, error) {
	for now.off+now.len <= at {
		run, err, ok := next()
		if err != nil {
			return now, err
		}
		if !ok {
			return now, fmt.Errorf("compare maps: one ends at %d: %w", at, io.ErrUnexpectedEOF)
		}
		now = run
	}
	return now, nil
}

// suspect adds a range that may differ. It reads the ranges before it once they fill a buffer or have a gap.
func (d *shiftedDiffer) suspect(off, n int64) error {
	for n > 0 {
		if d.doubtful.Len == compareSize || d.doubtful.Off+d.doubtful.Len != off {
			if err := d.readDoubtful(); err != nil {
				return err
			}
			d.doubtful = diskmap.Range{Off: off}
		}
		step := min(n, compareSize-d.doubtful.Len)
		d.doubtful.Len += step
		off, n = off+step, n-step
	}
	return nil
}

// readDoubtful reads and compares the range on which the maps disagree.
func (d *shiftedDiffer) readDoubtful() error {
	off, n := d.doubtful.Off, d.doubtful.Len
	d.doubtful = diskmap.Range{}
	if n == 0 {
		return nil
	}
	a, b := d.bufA[:n], d.bufB[:n]
	fromA, _ := d.inA.Within()
	fromB, _ := d.inB.Within()
	if _, err := d.a.ReadAt(a, fromA+off); err != nil {
		return err
	}
	if _, err := d.b.ReadAt(b, fromB+off); err != nil {
		return err
	}
	for len(a) > 0 {
		step := min(int64(len(a)), chunk.Block-off%chunk.Block)
		if !bytes.Equal(a[:step], b[:step]) {
			d.out.Add(off, step)
		}
		a, b, off = a[step:], b[step:], off+step
	}
	return d.ctx.Err()
}

// partRuns yields the pieces of the map's part, in order and without gaps.
func partRuns(ctx context.Context, m *diskmap.Map) iter.Seq2[partRun, error] {
	return func(yield func(partRun, error) bool) {
		from, to := m.Within()
		at := from
		// emit yields the piece from off to end, clipped to the part and to what follows the last run.
		emit := func(q diskmap.Piece, off, end int64) bool {
			start, stop := max(off, at), min(end, to)
			if start >= stop {
				return true
			}
			at = stop
			return yield(partRun{q, start - from, stop - start, start == off && stop == end}, nil)
		}
		zero := diskmap.Piece{Kind: diskmap.Zeros}
		for reg, err := range m.Regions(ctx) {
			var places []diskmap.Place
			if err == nil {
				places, err = m.Places(ctx, reg.Index, reg.Page)
			}
			if err != nil {
				yield(partRun{}, err)
				return
			}
			for _, p := range places {
				if !emit(zero, at, p.Off) || !emit(p.Piece, p.Off, p.End()) {
					return
				}
			}
		}
		emit(zero, at, to)
	}
}
