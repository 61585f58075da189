package snapshot

import (
	"context"
	"fmt"
	"io"

	"platter/chunk"
	"platter/snapshot/image"
)

// A regionJob is a region that may hold data, and where in it.
type regionJob struct {
	region int64
	before chunk.ID       // its page in the version before, zero for none
	data   []image.Extent // in order, none of them zero
}

// feed sends the regions of a disk that may hold data, in order. Regions of holes cost nothing.
func (b *run) feed(ctx context.Context, disk image.Disk, jobs chan<- regionJob) error {
	old := newGuide(ctx, b.parent)
	defer old.stop()
	job := regionJob{region: -1}
	send := func() error {
		if job.region < 0 {
			return nil
		}
		select {
		case jobs <- job:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	for e, err := range disk.Extents() {
		if err != nil {
			return err
		}
		for !e.Zero && e.Len > 0 {
			region := e.Off / RegionSize
			n := min(e.Len, (region+1)*RegionSize-e.Off)
			if region != job.region {
				if err := send(); err != nil {
					return err
				}
				job = regionJob{region: region, before: old.page(region)}
			}
			job.data = append(job.data, image.Extent{Off: e.Off, Len: n})
			e.Off, e.Len = e.Off+n, e.Len-n
		}
	}
	return send()
}

// A regionReader reads one region of a disk from its first byte to its last; holes are made up, not read.
type regionReader struct {
	disk image.Disk
	job  regionJob
	run  *run
	done int64 // bytes of the region
}

func (r *regionReader) Read(p []byte) (int, error) {
	off := r.job.region*RegionSize + r.done
	left := regionLen(r.disk.Size(), r.job.region) - r.done
	if left <= 0 {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), left)]
	if len(r.job.data) > 0 && r.job.data[0].Off <= off {
		return r.readData(p, off)
	}
	if len(r.job.data) > 0 {
		p = p[:min(int64(len(p)), r.job.data[0].Off-off)]
	}
	clear(p)
	r.done += int64(len(p))
	return len(p), nil
}

func (r *regionReader) readData(p []byte, off int64) (int, error) {
	e := &r.job.data[0]
	p = p[:min(int64(len(p)), e.Len)]
	n, err := r.disk.ReadAt(p, off)
	if n < len(p) {
		if err == nil || err == io.EOF {
			err = fmt.Errorf("%w: it ends at %d now", image.ErrResized, off+int64(n))
		}
		return n, fmt.Errorf("read at %d: %w", off+int64(n), err)
	}
	if e.Off, e.Len = e.Off+int64(n), e.Len-int64(n); e.Len == 0 {
		r.job.data = r.job.data[1:]
	}
	r.done += int64(n)
	r.run.read.Add(int64(n))
	r.run.progress.Add(int64(n))
	return n, nil
}
