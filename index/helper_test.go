package index

import (
	"encoding/binary"
	"math/rand/v2"

	"platter/chunk"
	"platter/pack"
)

// closeID draws one of few IDs with long common prefixes, so that they share few shards and few slots.
func closeID(r *rand.Rand, spread int) (id chunk.ID) {
	id[0] = byte(r.IntN(2))
	binary.LittleEndian.PutUint64(id[1:], uint64(r.IntN(3))) // the slot where the search in a shard begins
	binary.LittleEndian.PutUint32(id[28:], uint32(r.IntN(spread)))
	return id
}

// packOf makes up a pack and a table with the IDs, in frames of a few chunks each.
func packOf(r *rand.Rand, ids []chunk.ID) (Pack, *pack.Table) {
	t := new(pack.Table)
	for len(ids) > 0 {
		n := min(1+r.IntN(4), len(ids))
		f := pack.Frame{Kind: chunk.Data + chunk.Kind(r.IntN(2)), Chunks: uint32(n)}
		for _, id := range ids[:n] {
			ref := pack.Ref{ID: id, Len: 1 + uint32(r.IntN(9000))}
			t.Chunks = append(t.Chunks, ref)
			f.Raw += ref.Len
		}
		f.Sealed = 42 + uint32(r.IntN(int(f.Raw)))
		if f.Sealed > f.Raw {
			f.Sealed = f.Raw + 41
		}
		t.Frames = append(t.Frames, f)
		ids = ids[n:]
	}
	return Pack{ID: randomPackID(r), Size: int64(4096 + r.IntN(1<<20))}, t
}

func randomPackID(r *rand.Rand) (id pack.FileID) {
	for i := range id {
		id[i] = byte(r.Uint32())
	}
	return id
}

// locations computes the place of each chunk of a pack, independently of the index.
func locations(p Pack, t *pack.Table) (ids []chunk.ID, at []Location) {
	next, offset := 0, int64(pack.HeaderSize)
	for _, f := range t.Frames {
		start := uint32(0)
		for range f.Chunks {
			ref := t.Chunks[next]
			ids = append(ids, ref.ID)
			at = append(at, Location{Pack: p.ID, Offset: offset, Frame: f, Start: start, Len: ref.Len})
			start += ref.Len
			next++
		}
		offset += int64(f.Sealed)
	}
	return ids, at
}

func randomFile(r *rand.Rand, packs int) *File {
	f := &File{Supersedes: []pack.FileID{}, Packs: []PackTable{}}
	for range r.IntN(4) {
		f.Supersedes = append(f.Supersedes, randomPackID(r))
	}
	for range packs {
		ids := make([]chunk.ID, 1+r.IntN(20))
		for i := range ids {
			ids[i] = chunk.ID(randomPackID(r))
		}
		p, t := packOf(r, ids)
		f.Packs = append(f.Packs, PackTable{Pack: p, Table: t})
	}
	return f
}

// count returns the number of chunks in the shards.
func count(x *Index) (n int) {
	for i := range x.shards {
		n += len(x.shards[i].entries)
	}
	return n
}
