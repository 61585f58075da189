package index

import (
	"context"
	"encoding/binary"
	"errors"
	"maps"
	"math"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"

	"platter/pack"
)

// build writes a run to the first target that works.
func (s *stock) build(ctx context.Context, c *Cache) (*run, error) {
	t := trailer{packs: s.kept, frames: s.keptFrames, files: uint32(len(s.files)), records: uint64(s.places)}
	for _, src := range s.files {
		t.links += uint32(len(src.packs))
		t.superseded += uint32(len(src.Supersedes))
	}
	if uint64(s.places) >= math.MaxUint32 || uint64(s.frameCount) >= math.MaxUint32 {
		return nil, errors.New("merge index: more than 4 billion chunks")
	}
	size := uint64(0)
	for _, n := range t.sections() {
		size += n
	}
	size += (size/segment+2)*sumSize + trailerSize
	var failed []error
	for _, open := range targets(c, size) {
		to, err := open()
		if err == nil {
			r, err := s.writeTo(ctx, c, to, t)
			if err == nil {
				return r, nil
			}
			to.abandon()
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			failed = append(failed, err)
		} else {
			failed = append(failed, err)
		}
	}
	return nil, errors.Join(failed...)
}

func (s *stock) writeTo(ctx context.Context, c *Cache, to target, t trailer) (*run, error) {
	out := newSealer(c, to.write)
	err := s.writePacks(out)
	if err == nil {
		t.links, t.superseded, err = s.writeFiles(out)
	}
	if err != nil {
		return nil, err
	}
	buckets := make([]uint32, 1, prefixes+1)
	workers := runtime.GOMAXPROCS(0)
	for n := 0; n < shardCount && err == nil; n += workers {
		buckets, err = s.writePiles(ctx, out, buckets, n, min(n+workers, shardCount))
	}
	if err != nil {
		return nil, err
	}
	t.records = uint64(buckets[prefixes])
	table := make([]byte, 0, bucketSize)
	for _, n := range buckets {
		table = binary.LittleEndian.AppendUint32(table, n)
	}
	if err := out.write(table); err != nil {
		return nil, err
	}
	if err := out.finish(t); err != nil {
		return nil, err
	}
	data, free, err := to.finish()
	if err != nil {
		return nil, err
	}
	t.body = out.body
	return layOut(data, &t).own(free), nil
}

func (s *stock) writePacks(out *sealer) error {
	var buf []byte
	le := binary.LittleEndian
	for i, p := range s.packs {
		if s.newPack[i] != noPack {
			buf = le.AppendUint32(le.AppendUint32(append(buf, p.ID[:]...), uint32(p.Size)), s.newFirst[i])
		}
	}
	if err := out.write(buf); err != nil {
		return err
	}
	for i, p := range s.packs {
		if s.newPack[i] == noPack {
			continue
		}
		buf = buf[:0]
		for n := p.first; n < s.endOf(i); n++ {
			f := s.frame(n)
			f.pack = s.newPack[i]
			buf = f.appendTo(buf)
		}
		if err := out.write(buf); err != nil {
			return err
		}
	}
	return nil
}

// writeFiles writes the index files that the run replaces, and returns how many packs and superseded files they list.
func (s *stock) writeFiles(out *sealer) (linked, supersedes uint32, err error) {
	var files, links, superseded []byte
	le := binary.LittleEndian
	for _, id := range slices.SortedFunc(maps.Keys(s.files), func(a, b pack.FileID) int { return slices.Compare(a[:], b[:]) }) {
		src, n := s.files[id], uint32(noLinks)
		incomplete := slices.ContainsFunc(src.packs, func(at uint32) bool { return s.newPack[at] == noPack })
		if src.Counts && !incomplete { // otherwise the file must be read again
			n = uint32(len(src.packs))
			linked += n
			for _, at := range src.packs {
				links = le.AppendUint32(links, s.newPack[at])
			}
		}
		files = le.AppendUint32(le.AppendUint32(append(files, id[:]...), n), uint32(len(src.Supersedes)))
		supersedes += uint32(len(src.Supersedes))
		for _, old := range src.Supersedes {
			superseded = append(superseded, old[:]...)
		}
	}
	return linked, supersedes, out.write(slices.Concat(files, links, superseded))
}

// writePiles writes the records of piles from to to−1, sorts them on all cores, and appends to the buckets.
func (s *stock) writePiles(ctx context.Context, out *sealer, buckets []uint32, from, to int) ([]uint32, error) {
	records, counts := make([][]byte, to-from), make([][256]uint32, to-from)
	g, ctx := errgroup.WithContext(ctx)
	for n := from; n < to; n++ {
		g.Go(func() (err error) {
			records[n-from], err = s.pile(n, &counts[n-from])
			return errors.Join(err, ctx.Err())
		})
	}
	if err := g.Wait(); err != nil {
		return buckets, err
	}
	for i := range records {
		for _, n := range counts[i] {
			buckets = append(buckets, buckets[len(buckets)-1]+n)
		}
		if err := out.write(records[i]); err != nil {
			return buckets, err
		}
	}
	return buckets, nil
}

// pile returns the sorted records of pile n, and counts them by the second byte of their IDs.
func (s *stock) pile(n int, counts *[256]uint32) ([]byte, error) {
	fresh := slices.Clone(s.piles[n])
	if s.spill != nil {
		spilled, err := s.spill.pile(n)
		if err != nil {
			return nil, err
		}
		fresh = append(spilled, fresh...)
	}
	fresh = sortPlaces(fresh)
	from, end, prefix := 0, 0, n<<8
	if s.base != nil {
		from, end = s.base.bucketAt(n<<8), s.base.bucketAt((n+1)<<8)
	}
	dst := make([]byte, 0, recordSize*(len(fresh)+end-from))
	var last place
	for from < end || len(fresh) > 0 {
		var p place
		takeOld := from < end
		if takeOld {
			for from >= s.base.bucketAt(prefix+1) {
				prefix++
			}
			p = s.base.place(from, prefix)
			takeOld = len(fresh) == 0 || comparePlaces(p, fresh[0]) <= 0
		}
		if takeOld {
			from++
		} else {
			p, fresh = fresh[0], fresh[1:]
		}
		if p == last && len(dst) > 0 { // the same place was added twice
			continue
		}
		last = p
		var ok bool
		if p.frame, ok = s.newFrame(p.frame); ok {
			dst = p.appendTo(dst)
			counts[byte(p.hi>>48)]++
		}
	}
	return dst, nil
}
