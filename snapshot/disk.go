package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"

	lru "github.com/hashicorp/golang-lru/v2"

	"platter/chunk"
	"platter/repo"
	"platter/snapshot/diskmap"
	"platter/snapshot/image"
)

// A Disk is a snapshot read as the disk it was. It is safe for concurrent use.
type Disk struct {
	ctx   context.Context // io.ReaderAt has no room for one
	repo  *repo.Repo
	m     *diskmap.Map
	pages *lru.Cache[int64, []diskmap.Place]
}

var _ image.Disk = (*Disk)(nil)

// pagesKept is how many regions' pages a Disk remembers.
const pagesKept = 32

// Open returns the snapshot's disk. Reads end with ctx.
func (s *Snapshot) Open(ctx context.Context, r *repo.Repo) (*Disk, error) {
	pages, err := lru.New[int64, []diskmap.Place](pagesKept)
	if err != nil {
		return nil, fmt.Errorf("open snapshot: %w", err)
	}
	return &Disk{ctx, r, s.Map(r), pages}, nil
}

// Size returns the size in bytes.
func (d *Disk) Size() int64 { return d.m.Size() }

// ReadAt reads at a byte offset; past the end it returns io.EOF. Every byte is proved by its chunk's id.
func (d *Disk) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, errors.New("read snapshot: negative offset")
	}
	for n < len(p) && off < d.m.Size() {
		region := off / diskmap.RegionSize
		end := region*diskmap.RegionSize + diskmap.RegionLen(d.m.Size(), region)
		q := p[n:min(int64(len(p)), int64(n)+end-off)]
		if err := d.readRegion(q, region, off); err != nil {
			return n, err
		}
		n, off = n+len(q), off+int64(len(q))
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// readRegion fills p from byte off of the disk on, all of it in one region.
func (d *Disk) readRegion(p []byte, region, off int64) error {
	places, err := d.page(region)
	if err != nil {
		return err
	}
	clear(p)
	var ids []chunk.ID
	var wants []diskmap.Place
	end := off + int64(len(p))
	for _, q := range places {
		if q.Kind == diskmap.Data && q.End() > off && q.Off < end {
			ids, wants = append(ids, q.ID), append(wants, q)
		}
	}
	return d.repo.Load(d.ctx, chunk.Data, ids, func(i int, data []byte) error {
		if len(data) != int(wants[i].Len) {
			return diskmap.WrongLength(ids[i], len(data), wants[i].Len)
		}
		diskmap.Overlay(p, off, data, wants[i].Off)
		return nil
	})
}

func (d *Disk) page(region int64) ([]diskmap.Place, error) {
	if places, ok := d.pages.Get(region); ok {
		return places, nil
	}
	id, err := d.m.PageID(d.ctx, region)
	if err != nil {
		return nil, err
	}
	places, err := d.m.Places(d.ctx, region, id)
	if err == nil {
		d.pages.Add(region, places)
	}
	return places, err
}

// Extents yields the disk in order.
func (d *Disk) Extents() iter.Seq2[image.Extent, error] { return d.m.Extents(d.ctx) }
