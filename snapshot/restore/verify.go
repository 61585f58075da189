package restore

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"platter/chunk"
	"platter/repo"
	"platter/snapshot/diskmap"
	"platter/snapshot/image"
)

// A MismatchError says where a disk differs from its snapshot.
type MismatchError struct{ Off, Len int64 } // bytes

func (e *MismatchError) Error() string {
	return fmt.Sprintf("bytes %d to %d are not what was kept", e.Off, e.Off+e.Len)
}

// A verifier reads a disk back and compares it with a map. It verifies chunks by their IDs, and that all else is zero.
// The error is a *MismatchError if the disk differs.
type verifier struct {
	m        *content
	disk     image.Disk
	done     *Result
	progress *repo.Progress
	windows  *windows
}

// all verifies the whole disk, or the map's part of it.
func (v *verifier) all(ctx context.Context) error {
	if err := v.m.EachRegion(ctx, v.region); err != nil {
		return err
	}
	return v.zeros(ctx)
}

// region verifies a region that has a page.
func (v *verifier) region(ctx context.Context, reg diskmap.Region) error {
	places, err := v.m.Places(ctx, reg.Index, reg.Page)
	if err != nil {
		return err
	}
	r, namer := v.windows.take(), v.m.repo.Namer(chunk.Data)
	defer func() { v.windows.put(r); v.m.repo.Return(chunk.Data, namer) }()
	end := reg.Index*diskmap.RegionSize + diskmap.RegionLen(v.m.Size(), reg.Index)
	for _, q := range places {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if q.Kind == diskmap.Data {
			err = v.chunk(r, namer, end, q)
		} else {
			err = v.zero(r, q.Off, int64(q.Len))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (v *verifier) chunk(r *windowReader, namer *chunk.Namer, end int64, q diskmap.Place) error {
	data, err := r.view(q.Off, int64(q.Len), end)
	if err != nil {
		return err
	}
	if namer.ID(data) != q.ID {
		return &MismatchError{q.Off, int64(q.Len)}
	}
	v.done.Verified.Add(int64(q.Len))
	v.progress.Add(int64(q.Len))
	return nil
}

// zeros verifies that regions without a page are zero; it skips holes. It walks the map and the target together: a list
// of written regions would take memory for each.
func (v *verifier) zeros(ctx context.Context) error {
	r := v.windows.take()
	defer v.windows.put(r)
	next, stop := iter.Pull2(v.m.Regions(ctx))
	defer stop()
	mapped, failed, more := next()
	for e, err := range v.disk.Extents() {
		if err != nil || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		for !e.Zero && e.Len > 0 {
			region := e.Off / diskmap.RegionSize
			n := min(e.Len, (region+1)*diskmap.RegionSize-e.Off)
			for more && failed == nil && mapped.Index < region {
				mapped, failed, more = next()
			}
			if failed != nil {
				return failed
			}
			if !more || mapped.Index != region {
				if err := v.zero(r, e.Off, n); err != nil {
					return err
				}
			}
			e.Off, e.Len = e.Off+n, e.Len-n
		}
	}
	return nil
}

func (v *verifier) zero(r *windowReader, off, n int64) error {
	const step = 1 << 20
	for end := off + n; off < end; off += step {
		data, err := r.view(off, min(step, end-off), end)
		if err != nil {
			return err
		}
		if !chunk.IsZero(data) {
			return &MismatchError{off, int64(len(data))}
		}
	}
	return nil
}
