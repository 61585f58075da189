package repo

import (
	"cmp"
	"context"
	"slices"

	"platter/chunk"
	"platter/pack"
	"platter/repo/layout"
)

// Probe finds out which chunks the damaged packs can still supply. Those are not Lost from then on.
func (d *Damage) Probe(ctx context.Context) error {
	d.readable = map[chunk.ID]bool{}
	return d.eachReadable(ctx, func(_ chunk.Kind, id chunk.ID, _ []byte) error {
		d.readable[id] = true
		return nil
	})
}

// Unprobe makes those chunks Lost again.
func (d *Damage) Unprobe() { d.readable = nil }

// Salvage copies the readable chunks out of the damaged packs, and returns how many it copied.
func (d *Damage) Salvage(ctx context.Context) (int64, error) {
	return d.store(ctx, d.eachReadable)
}

// TakeChunks copies wanted chunks from another repository with the same ID, and returns how many. stopped says why it
// copied no more, if the cause is not damage.
func (d *Damage) TakeChunks(ctx context.Context, from *Repo) (found int64, stopped, err error) {
	found, err = d.store(ctx, func(ctx context.Context, save saveFunc) (err error) {
		for kind, ids := range d.wanted() {
			ids = slices.DeleteFunc(ids, func(id chunk.ID) bool { _, ok := from.view().index.Lookup(id); return !ok })
			for part := range slices.Chunk(ids, takenAtOnce) {
				if stopped, err = d.take(ctx, from, kind, part, save); stopped != nil || err != nil {
					return err
				}
			}
		}
		return nil
	})
	return found, stopped, err
}

// takenAtOnce is how many chunks are requested at once.
const takenAtOnce = 1024

// take loads chunks from another repository. If some of them cannot be read, it loads them one by one.
func (d *Damage) take(ctx context.Context, from *Repo, kind chunk.Kind, ids []chunk.ID, save saveFunc) (stopped, err error) {
	load := func(ids []chunk.ID) error {
		return from.Load(ctx, kind, ids, func(at int, data []byte) error {
			err = save(kind, ids[at], data)
			return err
		})
	}
	if load(ids) == nil || err != nil {
		return nil, err
	}
	for _, id := range ids {
		if !d.Wanted(id) { // it was loaded before the one that failed
			continue
		}
		why := load([]chunk.ID{id})
		if err != nil || ctx.Err() != nil {
			return nil, cmp.Or(err, ctx.Err())
		}
		if why != nil && !layout.IsPermanent(why) {
			return why, nil
		}
	}
	return nil, nil
}

// A saveFunc stores a chunk that was verified by its ID.
type saveFunc = func(kind chunk.Kind, id chunk.ID, data []byte) error

// store runs fn, stores what fn saves, and returns how many chunks were new.
func (d *Damage) store(ctx context.Context, fn func(context.Context, saveFunc) error) (int64, error) {
	stats, err := d.repo.Write(ctx, func(ctx context.Context, w *Writer) error {
		lane := w.Lane()
		err := fn(ctx, func(kind chunk.Kind, id chunk.ID, data []byte) error {
			if kind == chunk.Map {
				_, err := w.SaveMap(ctx, data)
				return err
			}
			return lane.Save(ctx, id, data)
		})
		if err != nil {
			return err
		}
		return lane.Close(ctx)
	})
	if err != nil {
		return 0, err
	}
	return stats.Chunks.Load(), nil
}

// eachReadable passes on every lost chunk that the damaged packs can still supply. data is valid only during the call.
func (d *Damage) eachReadable(ctx context.Context, fn saveFunc) error {
	namers := map[chunk.Kind]*chunk.Namer{}
	for _, kind := range []chunk.Kind{chunk.Data, chunk.Map} {
		namers[kind] = d.repo.Namer(kind)
		defer d.repo.Return(kind, namers[kind])
	}
	for _, b := range d.still() {
		off, refs := int64(pack.HeaderSize), b.table.Chunks
		for _, f := range b.table.Frames {
			own := refs[:f.Chunks]
			lost := slices.ContainsFunc(own, func(ref pack.Ref) bool { return d.Lost(ref.ID) })
			if lost && off+int64(f.Sealed) <= b.there {
				raw, err := d.frame(ctx, b, off, f)
				if err == nil {
					err = d.proved(raw, f.Kind, own, namers[f.Kind], fn)
				}
				if err != nil {
					return err
				}
			}
			off, refs = off+int64(f.Sealed), refs[f.Chunks:]
		}
	}
	return nil
}

// proved passes on the chunks of a frame that are lost and match their IDs.
func (d *Damage) proved(raw []byte, kind chunk.Kind, refs []pack.Ref, namer *chunk.Namer, fn saveFunc) error {
	for _, ref := range refs {
		if len(raw) < int(ref.Len) {
			return nil // the frame did not open
		}
		if data := raw[:ref.Len]; d.Lost(ref.ID) && namer.ID(data) == ref.ID {
			if err := fn(kind, ref.ID, data); err != nil {
				return err
			}
		}
		raw = raw[ref.Len:]
	}
	return nil
}

// frame opens a frame of a damaged pack. It returns nil if the frame does not open.
func (d *Damage) frame(ctx context.Context, b *PackDamage, off int64, f pack.Frame) (raw []byte, err error) {
	bad, err := d.repo.twice(ctx, b.Name(), func() error {
		sealed, err := d.repo.view().store.Get(ctx, b.Name(), off, int64(f.Sealed))
		if err == nil {
			raw, err = d.repo.decoder.Decode(nil, sealed, f)
		}
		return err
	})
	if bad != nil || err != nil {
		return nil, err
	}
	return raw, nil
}
