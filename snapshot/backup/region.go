package backup

import (
	"context"

	"platter/chunk"
	"platter/snapshot/diskmap"
	"platter/snapshot/image"
)

// A regionJob is a region that may hold data, and its extents.
type regionJob struct {
	region int64
	before chunk.ID       // its page in the parent version; zero if there is none
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
			region := e.Off / diskmap.RegionSize
			n := min(e.Len, (region+1)*diskmap.RegionSize-e.Off)
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
