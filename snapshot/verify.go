package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"platter/chunk"
	"platter/pack"
	"platter/repo"
	"platter/snapshot/image"
)

// A MismatchError says where a disk is not what its snapshot says.
type MismatchError struct{ Off, Len int64 } // bytes

func (e *MismatchError) Error() string {
	return fmt.Sprintf("bytes %d to %d are not what was kept", e.Off, e.Off+e.Len)
}

func wrongLength(id chunk.ID, got int, want uint32) error {
	return fmt.Errorf("%w: chunk %v has %d bytes where the map says %d", pack.ErrDamaged, id, got, want)
}

// Verify reads a file back and proves it against the snapshot's map: chunks by their ids, all else by being zero. The
// error is a *MismatchError where it differs.
func Verify(ctx context.Context, r *repo.Repo, s *Snapshot, path string, done *Restored, p *repo.Progress) error {
	f, err := image.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if f.Size() != s.Size {
		return fmt.Errorf("it has %d bytes, the snapshot %d", f.Size(), s.Size)
	}
	if err := f.Forget(); err != nil {
		return err
	}
	v := &verifier{file: f, done: done, progress: p}
	mapped := map[int64]bool{}
	var mu sync.Mutex
	err = s.Map(r).eachRegion(ctx, func(ctx context.Context, reg mapRegion, pieces []piece) error {
		mu.Lock()
		mapped[reg.index] = true
		mu.Unlock()
		namer := r.Namer(chunk.Data)
		defer r.Return(chunk.Data, namer)
		return v.region(ctx, namer, reg.index*RegionSize, pieces)
	})
	if err != nil {
		return err
	}
	return v.zeros(ctx, mapped)
}

type verifier struct {
	file     *image.File
	done     *Restored
	progress *repo.Progress
	bufs     sync.Pool // of *[]byte
}

func (v *verifier) region(ctx context.Context, namer *chunk.Namer, off int64, pieces []piece) error {
	for _, q := range pieces {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if q.kind != dataPiece {
			if err := v.zero(off, int64(q.len)); err != nil {
				return err
			}
		} else if err := v.chunk(namer, off, q); err != nil {
			return err
		}
		off += int64(q.len)
	}
	return nil
}

func (v *verifier) chunk(namer *chunk.Namer, off int64, q piece) error {
	return v.read(off, int64(q.len), func(data []byte) error {
		if namer.ID(data) != q.id {
			return &MismatchError{off, int64(q.len)}
		}
		v.done.Verified.Add(int64(q.len))
		v.progress.Add(int64(q.len))
		return nil
	})
}

// zeros proves that regions without a page hold nothing; holes need no reading.
func (v *verifier) zeros(ctx context.Context, mapped map[int64]bool) error {
	for e, err := range v.file.Extents() {
		if err != nil || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		for !e.Zero && e.Len > 0 {
			region := e.Off / RegionSize
			n := min(e.Len, (region+1)*RegionSize-e.Off)
			if !mapped[region] {
				if err := v.zero(e.Off, n); err != nil {
					return err
				}
			}
			e.Off, e.Len = e.Off+n, e.Len-n
		}
	}
	return nil
}

func (v *verifier) zero(off, n int64) error {
	const step = 1 << 20
	for ; n > 0; off, n = off+step, n-step {
		err := v.read(off, min(step, n), func(data []byte) error {
			if !chunk.IsZero(data) {
				return &MismatchError{off, int64(len(data))}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (v *verifier) read(off, n int64, fn func([]byte) error) error {
	buf, ok := v.bufs.Get().(*[]byte)
	if !ok || int64(len(*buf)) < n {
		b := make([]byte, n)
		buf = &b
	}
	defer v.bufs.Put(buf)
	if _, err := v.file.ReadAt((*buf)[:n], off); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return fn((*buf)[:n])
}
