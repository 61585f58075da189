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
// It keeps the maps of the regions read last, some MiB at most. Its Chunks may cache decoded frames.
type Disk struct {
	ctx     context.Context // for ReadAt and Extents, which take none
	chunks  Chunks
	m       *diskmap.Map
	regions *lru.Cache[int64, *diskRegion]
	strict  bool // see Strict
}

var (
	_ image.Disk          = (*Disk)(nil)
	_ image.ContextReader = (*Disk)(nil)
	_ image.RangeReader   = (*Disk)(nil)
)

// regionsKept is the number of regions whose maps a Disk keeps.
const regionsKept = 64

// A diskRegion lists the chunks of one region, in order. The rest of the region reads as zeros.
type diskRegion struct {
	ids        []chunk.ID
	runs       []chunkRun      // the place of each of ids
	unreadable []diskmap.Range // in order
}

// A chunkRun is the place of a chunk.
type chunkRun struct {
	off int64 // of the disk, bytes
	len uint32
}

func (r chunkRun) end() int64 { return r.off + int64(r.len) }

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
	return &Disk{ctx: ctx, chunks: c, m: s.Map(c), regions: regions}, nil
}

// Strict returns a Disk of the same bytes, on which unreadable ranges are errors and no zeros.
func (d *Disk) Strict() *Disk {
	strict := *d
	strict.strict = true
	return &strict
}

// Size returns the size in bytes.
func (d *Disk) Size() int64 { return d.m.Size() }

// ReadAt is ReadAtContext with the context of Open.
func (d *Disk) ReadAt(p []byte, off int64) (n int, err error) { return d.ReadAtContext(d.ctx, p, off) }

// ReadAtContext reads at a byte offset; past the end it returns io.EOF. Only ctx ends it, not the context of Open. Errors
// are those of ctx or Chunks.Load, or wrap pack.ErrDamaged. Those of a Strict disk may also wrap image.ErrUnreadable.
func (d *Disk) ReadAtContext(ctx context.Context, p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, errors.New("read snapshot: negative offset")
	}
	err = d.eachRegion(off, int64(len(p)), func(index, from, to int64) error {
		err := d.readRegion(ctx, p[from-off:to-off], index, from)
		if err == nil {
			n = int(to - off)
		}
		return err
	})
	if err == nil && n < len(p) {
		err = io.EOF
	}
	return n, err
}

// Prefetch loads the chunks that have bytes in a range, so that a frame cache has them. The part of the range beyond the
// disk's end is ignored. Errors are those of ReadAtContext.
func (d *Disk) Prefetch(ctx context.Context, off, n int64) error {
	return d.eachRegion(off, n, func(index, from, to int64) error {
		region, err := d.region(ctx, index)
		if err != nil {
			return err
		}
		ids, _ := region.between(from, to)
		if len(ids) == 0 {
			return ctx.Err()
		}
		return d.chunks.Load(ctx, chunk.Data, ids, func(int, []byte) error { return ctx.Err() })
	})
}

// eachRegion calls fn for each region that has some of n bytes at off, with the bounds of that part.
func (d *Disk) eachRegion(off, n int64, fn func(index, from, to int64) error) error {
	for end := off + min(n, d.m.Size()-off); off < end; {
		index := off / diskmap.RegionSize
		to := min(end, (index+1)*diskmap.RegionSize)
		if err := fn(index, off, to); err != nil {
			return err
		}
		off = to
	}
	return nil
}

// readRegion fills p from byte off of the disk. All of p is in one region.
func (d *Disk) readRegion(ctx context.Context, p []byte, index, off int64) error {
	region, err := d.region(ctx, index)
	if err != nil {
		return err
	}
	if bad := region.unreadableIn(off, off+int64(len(p))); d.strict && bad != nil {
		return fmt.Errorf("read snapshot: %d bytes at %d: %w", bad.Len, bad.Off, image.ErrUnreadable)
	}
	ids, runs := region.between(off, off+int64(len(p)))
	clearGaps(p, off, runs)
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

// clearGaps zeroes the bytes of p, which are at off, that are in none of the runs.
func clearGaps(p []byte, off int64, runs []chunkRun) {
	done := off
	for _, run := range runs {
		if run.off > done {
			clear(p[done-off : run.off-off])
		}
		done = run.end()
	}
	if end := off + int64(len(p)); end > done {
		clear(p[done-off:])
	}
}

// between returns the chunks that have bytes from one byte of the disk to another.
func (r *diskRegion) between(from, to int64) ([]chunk.ID, []chunkRun) {
	first := sort.Search(len(r.runs), func(i int) bool { return r.runs[i].end() > from })
	n := sort.Search(len(r.runs)-first, func(i int) bool { return r.runs[first+i].off >= to })
	return r.ids[first:][:n], r.runs[first:][:n]
}

// unreadableIn returns the first unreadable range that has bytes from one byte of the disk to another; nil for none.
func (r *diskRegion) unreadableIn(from, to int64) *diskmap.Range {
	i := sort.Search(len(r.unreadable), func(i int) bool { return r.unreadable[i].Off+r.unreadable[i].Len > from })
	if i == len(r.unreadable) || r.unreadable[i].Off >= to {
		return nil
	}
	return &r.unreadable[i]
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
		switch q.Kind {
		case diskmap.Data:
			r.ids, r.runs = append(r.ids, q.ID), append(r.runs, chunkRun{q.Off, q.Len})
		case diskmap.Unreadable:
			r.unreadable = append(r.unreadable, diskmap.Range{Off: q.Off, Len: int64(q.Len)})
		}
	}
	d.regions.Add(index, r)
	return r, nil
}

// Extents yields the disk in order.
func (d *Disk) Extents() iter.Seq2[image.Extent, error] { return d.extents(d.ctx, d.m) }

// ExtentsIn yields the extents of a range. It reads only the part of the map that describes the range.
func (d *Disk) ExtentsIn(ctx context.Context, off, n int64) iter.Seq2[image.Extent, error] {
	return func(yield func(image.Extent, error) bool) {
		m, err := d.m.Clip(diskmap.Range{Off: off, Len: n})
		if err != nil {
			yield(image.Extent{}, err)
			return
		}
		for e, err := range d.extents(ctx, m) {
			e.Off += off
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

func (d *Disk) extents(ctx context.Context, m *diskmap.Map) iter.Seq2[image.Extent, error] {
	if d.strict {
		return m.ReadableExtents(ctx)
	}
	return m.Extents(ctx)
}
