package backup

import (
	"context"

	"platter/chunk"
	"platter/repo"
	"platter/snapshot/image"
)

// Recut cuts a disk as a backup does, and stores only chunks, pages and nodes whose IDs are wanted. It reads around
// unreadable bytes, and returns how many there are.
func Recut(ctx context.Context, r Cutting, w *repo.Writer, disk image.Disk, wanted func(chunk.ID) bool, p *repo.Progress) (skipped int64, err error) {
	retrying, err := image.NewRetrying(disk, nil, image.RetryOptions{Any: true})
	if err != nil {
		return 0, err
	}
	for e, err := range retrying.Extents() {
		if err != nil {
			return 0, err
		}
		if !e.Zero {
			p.Expect(e.Len)
		}
	}
	b := &run{repo: r, writer: w, progress: p, only: wanted}
	if err := b.disk(ctx, retrying); err != nil {
		return 0, err
	}
	_, err = b.tree.Finish(ctx, disk.Size(), b.saveMap)
	return b.bad.Load(), err
}
