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

// Merge makes a new run of the old one and of all chunks that were added since and are more than claimed. Others may use
// the Index meanwhile. What packs are no longer listed had is left out. The new run replaces the one in the cache; where
// that cannot be, it goes to a temporary file or stays in memory.
//
// After Spill, what was added is found only when Merge has returned nil, and is lost when it returns an error.
func (x *Index) Merge(ctx context.Context, c *Cache) error {
	x.merging.Lock()
	defer x.merging.Unlock()
	for {
		s := x.takeStock()
		r, err := s.build(ctx, c)
		if err == nil && !x.swap(s, r) { // a pack that was left out is there again
			r.free()
			continue
		}
		if s.spill != nil {
			s.spill.close()
		}
		return err
	}
}

// stock is what goes into a run.
type stock struct {
	base   *run
	packs  []knownPack
	frames []frame // behind those of base
	files  map[pack.ID]Source
	piles  [shardCount][]place
	spill  *spill

	frameCount, places int
	newPack            []uint32 // by old position; gonePack for one that is left out
	newFirst           []uint32 // first frame, by old position of the pack
	kept               uint32   // packs
	keptFrames         uint32
}

const gonePack = math.MaxUint32

func (x *Index) takeStock() *stock {
	x.adding.Lock() // or a pack's frames might be seen and its chunks not
	defer x.adding.Unlock()
	x.mu.Lock()
	defer x.mu.Unlock()
	s := &stock{base: x.base, packs: slices.Clone(x.packs), frames: x.frames[:len(x.frames):len(x.frames)], spill: x.spill,
		files: make(map[pack.ID]Source, len(x.files)), frameCount: x.baseFrames() + len(x.frames)}
	x.spill = nil
	for id, src := range x.files {
		s.files[id] = *src
	}
	for i := range x.shards {
		for _, list := range [][]entry{x.shards[i].entries, x.shards[i].doubles} {
			for j := range list {
				if fits(&list[j]) {
					s.piles[i] = append(s.piles[i], placeOf(&list[j]))
				}
			}
		}
		s.places += len(s.piles[i])
		if s.spill != nil {
			s.places += s.spill.piles[i].count
		}
	}
	if s.base != nil {
		s.places += s.base.recordCount
	}
	s.renumber()
	return s
}

// renumber gives packs and frames their numbers in the new run: the old order, without packs that no index file lists.
func (s *stock) renumber() {
	s.newPack, s.newFirst = make([]uint32, len(s.packs)), make([]uint32, len(s.packs))
	for i := range s.packs {
		if !s.packs[i].listed {
			s.newPack[i] = gonePack
			continue
		}
		s.newPack[i], s.newFirst[i] = s.kept, s.keptFrames
		s.kept++
		s.keptFrames += s.endOf(i) - s.packs[i].first
	}
}

func (s *stock) endOf(at int) uint32 {
	if at+1 < len(s.packs) {
		return s.packs[at+1].first
	}
	return uint32(s.frameCount)
}

func (s *stock) frame(n uint32) frame {
	if s.base == nil {
		return s.frames[n]
	}
	if int(n) >= s.base.frameCount {
		return s.frames[int(n)-s.base.frameCount]
	}
	return s.base.frame(int(n))
}

// newFrame returns a frame's number in the new run, false for one of a pack that is left out.
func (s *stock) newFrame(n uint32) (uint32, bool) {
	if int(s.kept) == len(s.packs) {
		return n, true
	}
	p := s.frame(n).pack
	return s.newFirst[p] + n - s.packs[p].first, s.newPack[p] != gonePack
}

// build writes a run to the first target that takes it.
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
		if s.newPack[i] != gonePack {
			buf = le.AppendUint32(le.AppendUint32(append(buf, p.ID[:]...), uint32(p.Size)), s.newFirst[i])
		}
	}
	if err := out.write(buf); err != nil {
		return err
	}
	for i, p := range s.packs {
		if s.newPack[i] == gonePack {
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

// writeFiles writes which index files the run stands in for, and returns how many packs and superseded files they list.
func (s *stock) writeFiles(out *sealer) (linked, supersedes uint32, err error) {
	var files, links, superseded []byte
	le := binary.LittleEndian
	for _, id := range slices.SortedFunc(maps.Keys(s.files), func(a, b pack.ID) int { return slices.Compare(a[:], b[:]) }) {
		src, n := s.files[id], uint32(noLinks)
		leftOut := slices.ContainsFunc(src.packs, func(at uint32) bool { return s.newPack[at] == gonePack })
		if src.Counts && !leftOut { // else it has to be read again
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

// writePiles writes the records of some piles, made on all cores, and adds to the buckets.
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

// pile returns the records of one pile, and counts them by the second byte of their ids.
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
		if p == last && len(dst) > 0 { // said twice
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

// swap puts a run in the place of the old one, and takes what it has out of the shards. It reports false, and does
// nothing, when a pack that was left out has been listed since.
func (x *Index) swap(s *stock, r *run) bool {
	x.adding.Lock()
	defer x.adding.Unlock()
	x.mu.Lock()
	defer x.mu.Unlock()
	var packs []knownPack
	for i, p := range x.packs {
		switch {
		case i >= len(s.packs):
			p.first = p.first - uint32(s.frameCount) + s.keptFrames
		case s.newPack[i] == gonePack && p.listed:
			return false
		case s.newPack[i] == gonePack:
			continue
		default:
			p.first = s.newFirst[i]
		}
		packs = append(packs, p)
	}
	newPack := func(at uint32) uint32 {
		if int(at) < len(s.packs) {
			return s.newPack[at]
		}
		return at - uint32(len(s.packs)) + s.kept
	}
	frames := slices.Clone(x.frames[len(s.frames):])
	for i := range frames {
		frames[i].pack = newPack(frames[i].pack)
	}
	for i := range x.shards {
		x.shards[i].keep(func(e *entry) bool { return s.stays(e) })
	}
	for _, src := range x.files {
		for i, at := range src.packs {
			if src.packs[i] = newPack(at); src.packs[i] == gonePack {
				src.Counts, src.packs = false, nil
				break
			}
		}
	}
	old := x.base
	x.base, x.packs, x.frames, x.known = r, packs, frames, make(map[pack.ID]uint32, len(packs))
	x.anyGone = false
	for i := range packs {
		x.known[packs[i].ID] = uint32(i)
		x.anyGone = x.anyGone || packs[i].lost()
	}
	if old != nil {
		old.free() // nobody looks anything up: mu is held
	}
	return true
}

// stays reports whether an entry is not in the new run, and gives its frame the number it has from then on.
func (s *stock) stays(e *entry) bool {
	switch {
	case e.frame == claimed:
		return true
	case int(e.frame) >= s.frameCount:
		e.frame = e.frame - uint32(s.frameCount) + s.keptFrames
		return true
	case fits(e):
		return false
	}
	n, ok := s.newFrame(e.frame)
	e.frame = n
	return ok
}
