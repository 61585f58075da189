package snapshot

import (
	"context"

	"platter/chunk"
	"platter/snapshot/diskmap"
)

// Internals that external tests examine.

func DiffPages(ctx context.Context, a, b *diskmap.Map, end int64) func(region int64, pageA, pageB chunk.ID) (*diskmap.Runs, error) {
	d := &differ{ctx: ctx, a: a, b: b, end: end}
	return func(region int64, pageA, pageB chunk.ID) (*diskmap.Runs, error) {
		return d.pages(0, region, pageA, pageB)
	}
}

var (
	SampleSnapshots = testSnapshots
	Numbered        = numbered
	ErrDoubtful     = errDoubtful
	ErrMoreReasons  = errMoreReasons
)

const MaxReasons = maxReasons
