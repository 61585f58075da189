package snapshot

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"

	"platter/chunk"
	"platter/repo"
)

// compareSize is how much of a part is read and compared at once, in bytes: a frame holds many chunks, and is read for all
// of them together.
const compareSize = 8 << 20

// A shiftedDiffer compares parts that lie at different places of their disks. Chunks are cut by content, so most of what is
// the same has the same ids there, too, and is not read; but regions begin elsewhere.
type shiftedDiffer struct {
	ctx        context.Context
	a, b       *Disk
	inA, inB   Part
	bufA, bufB []byte
	doubt      Range // a run that the maps do not agree on, and that is yet to be read
	out        Runs
}

func newShiftedDiffer(ctx context.Context, r *repo.Repo, a, b *Snapshot, inA, inB Part) (*shiftedDiffer, error) {
	d := &shiftedDiffer{ctx: ctx, inA: inA, inB: inB, bufA: make([]byte, compareSize), bufB: make([]byte, compareSize)}
	var err error
	if d.a, err = a.Open(ctx, r); err != nil {
		return nil, err
	}
	d.b, err = b.Open(ctx, r)
	return d, err
}

// A partRun is a piece of a map, or some of one, counted from where a part begins.
type partRun struct {
	piece
	off, len int64
	whole    bool // all of the piece
}

// runs yields what a part consists of, in order and without gaps.
func (m *Map) runs(ctx context.Context, in Part) iter.Seq2[partRun, error] {
	return func(yield func(partRun, error) bool) {
		at, end := in.Off, in.Off+in.Len
		// emit yields a piece that begins at a byte of the disk, as far as it lies in the part and behind what was yielded.
		emit := func(q piece, off, n int64) bool {
			from, to := max(off, at), min(off+n, end)
			if from >= to {
				return true
			}
			at = to
			return yield(partRun{q, from - in.Off, to - from, from == off && to == off+n}, nil)
		}
		zero := piece{kind: zeroPiece}
		for reg, err := range m.regions(ctx) {
			start := reg.index * RegionSize
			if err == nil && (start+regionLen(m.size, reg.index) <= in.Off) {
				continue
			}
			if err == nil && start >= end {
				break
			}
			var pieces []piece
			if err == nil {
				pieces, err = m.page(ctx, reg.index, reg.page)
			}
			if err != nil {
				yield(partRun{}, err)
				return
			}
			if !emit(zero, at, start-at) {
				return
			}
			for _, q := range pieces {
				if !emit(q, start, int64(q.len)) {
					return
				}
				start += int64(q.len)
			}
		}
		emit(zero, at, end-at)
	}
}

// run compares the first n bytes of both parts.
func (d *shiftedDiffer) run(n int64) error {
	nextA, stopA := iter.Pull2(d.a.m.runs(d.ctx, Part{Off: d.inA.Off, Len: n}))
	defer stopA()
	nextB, stopB := iter.Pull2(d.b.m.runs(d.ctx, Part{Off: d.inB.Off, Len: n}))
	defer stopB()
	var a, b partRun
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
		case a.kind == b.kind && (a.kind != dataPiece || a.whole && b.whole && a.off == b.off && a.id == b.id && a.len == b.len):
		case a.kind == badPiece || b.kind == badPiece: // nobody knows
			if err := d.settle(); err != nil {
				return err
			}
			d.out.add(at, next-at)
		default:
			if err := d.suspect(at, next-at); err != nil {
				return err
			}
		}
		at = next
	}
	return d.settle()
}

// seekRun goes on to the run that holds byte at.
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

// suspect takes a run for one that may differ, and reads those before it once they are long enough, or end.
func (d *shiftedDiffer) suspect(off, n int64) error {
	for n > 0 {
		if d.doubt.Len == compareSize || d.doubt.Off+d.doubt.Len != off {
			if err := d.settle(); err != nil {
				return err
			}
			d.doubt = Range{Off: off}
		}
		step := min(n, compareSize-d.doubt.Len)
		d.doubt.Len += step
		off, n = off+step, n-step
	}
	return nil
}

// settle reads the run that is in doubt.
func (d *shiftedDiffer) settle() error {
	off, n := d.doubt.Off, d.doubt.Len
	d.doubt = Range{}
	if n == 0 {
		return nil
	}
	a, b := d.bufA[:n], d.bufB[:n]
	if _, err := d.a.ReadAt(a, d.inA.Off+off); err != nil {
		return err
	}
	if _, err := d.b.ReadAt(b, d.inB.Off+off); err != nil {
		return err
	}
	for len(a) > 0 {
		step := min(int64(len(a)), chunk.Block-off%chunk.Block)
		if !bytes.Equal(a[:step], b[:step]) {
			d.out.add(off, step)
		}
		a, b, off = a[step:], b[step:], off+step
	}
	return d.ctx.Err()
}
