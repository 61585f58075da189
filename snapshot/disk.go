package snapshot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"sort"

	lru "github.com/hashicorp/golang-lru/v2"

	"platter/chunk"
	"platter/repo"
	"platter/snapshot/diskmap"
	"platter/snapshot/image"
)

// Chunks is what a Disk reads from. A *repo.FrameCache is one. So is a *repo.Repo, which decodes a frame for each read.
type Chunks interface {
	diskmap.Loader // for data chunks too; it verifies the ID of each chunk
}

// Frames makes frame caches; a *repo.Repo does.
type Frames interface {
	// Frames returns a cache of at most the given bytes of decoded frames.
	Frames(bytes int64) *repo.FrameCache
}

// DefaultFrames is the size of the cache that Open makes, in bytes: about eight decoded frames.
const DefaultFrames = 16 << 20

// A Disk reads a snapshot as the disk it was. Every byte is verified by its chunk's ID. It is safe for concurrent use.
//
// It keeps the maps of the regions read last, a few MiB at most. Its Chunks may cache decoded frames.
type Disk struct {
	ctx     context.Context // for ReadAt and Extents, which take none
	chunks  Chunks
	m       *diskmap.Map
	regions *lru.Cache[int64, *diskRegion]
}

var _ image.Disk = (*Disk)(nil)

// regionsKept is the number of regions whose maps a Disk keeps.
const regionsKept = 32

// A diskRegion lists the chunks of one region, in order. The rest of the region reads as zeros.
type diskRegion struct {
	ids  []chunk.ID
	runs []chunkRun // the place of each of ids
}

// A chunkRun is the place of a chunk.
type chunkRun struct {
	off int64 // of the disk, bytes
	len uint32
}

// Open returns the snapshot's disk with its own cache of DefaultFrames bytes. ReadAt and Extents end with ctx.
func (s *Snapshot) Open(ctx context.Context, r Frames) (*Disk, error) {
	return s.OpenOn(ctx, r.Frames(DefaultFrames))
}

// OpenOn is Open for a disk that reads through c. Several disks may share one cache.
func (s *Snapshot) OpenOn(ctx context.Context, c Chunks) (*Disk, error) {
	regions, err := lru.New[int64, *diskRegion](regionsKept)
	if err != nil {
		return nil, fmt.Errorf("open snapshot: %w", err)
	}
	return &Disk{ctx, c, s.Map(c), regions}, nil
}

// Size returns the size in bytes.
func (d *Disk) Size() int64 { return d.m.Size() }

// ReadAt is ReadAtContext with the context of Open.
func (d *Disk) ReadAt(p []byte, off int64) (n int, err error) { return d.ReadAtContext(d.ctx, p, off) }

// ReadAtContext reads at a byte offset; past the end it returns io.EOF. Only ctx ends it, not the context of Open. Errors
// are those of ctx or Chunks.Load, or wrap pack.ErrDamaged.
func (d *Disk) ReadAtContext(ctx context.Context, p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, errors.New("read snapshot: negative offset")
	}
	for n < len(p) && off < d.m.Size() {
		region := off / diskmap.RegionSize
		end := region*diskmap.RegionSize + diskmap.RegionLen(d.m.Size(), region)
		q := p[n:min(int64(len(p)), int64(n)+end-off)]
		if err := d.readRegion(ctx, q, region, off); err != nil {
			return n, err
		}
		n, off = n+len(q), off+int64(len(q))
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// readRegion fills p from byte off of the disk. All of p is in one region.
func (d *Disk) readRegion(ctx context.Context, p []byte, index, off int64) error {
	region, err := d.region(ctx, index)
	if err != nil {
		return err
	}
	clear(p)
	ids, runs := region.between(off, off+int64(len(p)))
	if len(ids) == 0 {
		return ctx.Err()
	}
	return d.chunks.Load(ctx, chunk.Data, ids, func(i int, data []byte) error {
		if len(data) != int(runs[i].len) {
			return diskmap.WrongLength(ids[i], len(data), runs[i].len)
		}
		diskmap.Overlay(p, off, data, runs[i].off)
		return ctx.Err()
	})
}

// between returns the chunks that have bytes from one byte of the disk to another.
func (r *diskRegion) between(from, to int64) ([]chunk.ID, []chunkRun) {
	first := sort.Search(len(r.runs), func(i int) bool { return r.runs[i].off+int64(r.runs[i].len) > from })
	n := sort.Search(len(r.runs)-first, func(i int) bool { return r.runs[first+i].off >= to })
	return r.ids[first:][:n], r.runs[first:][:n]
}

// region returns a region of the disk. Two calls at once may both load it.
func (d *Disk) region(ctx context.Context, index int64) (*diskRegion, error) {
	if r, ok := d.regions.Get(index); ok {
		return r, nil
	}
	id, err := d.m.PageID(ctx, index)
	if err != nil {
		return nil, err
	}
	places, err := d.m.Places(ctx, index, id)
	if err != nil {
		return nil, err
	}
	r := new(diskRegion)
	for _, q := range places {
		if q.Kind == diskmap.Data {
			r.ids, r.runs = append(r.ids, q.ID), append(r.runs, chunkRun{q.Off, q.Len})
		}
	}
	d.regions.Add(index, r)
	return r, nil
}

// Extents yields the disk in order.
func (d *Disk) Extents() iter.Seq2[image.Extent, error] { return d.m.Extents(d.ctx) }
