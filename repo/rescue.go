package repo

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"platter/chunk"
	"platter/index"
	"platter/pack"
	"platter/repo/layout"
	"platter/repo/store"
)

// A rescue looks elsewhere for wanted chunks of one frame that could not be read where the index says. Like every read,
// it verifies what it passes on by its chunk ID.
type rescue struct {
	loader  *loader
	left    []wanted // chunks not found yet
	give    func(raw []byte, run []wanted) error
	own     pack.FileID
	missing bool // the pack is missing

	key frameKey // the frame that was read last
	raw []byte   // its decoded bytes; nil if they cannot be read

	mendedKey frameKey // the same for mended packs
	mendedRaw []byte
	how       string // how the pack was mended

	noted    bool
	unmended error // why the pack's parity file does not help; nil if there is none
}

// rescue passes on chunks of one frame that could not be read because of why. raw is the decoded frame if it opened, or
// else nil. If some chunks cannot be found anywhere, the error is why.
func (l *loader) rescue(ctx context.Context, run []wanted, raw []byte, why error, give func(raw []byte, run []wanted) error) error {
	r := &rescue{loader: l, left: run, give: give, own: run[0].Pack, missing: layout.IsMissing(why)}
	if raw != nil {
		r.key, r.raw = run[0].key(), raw
	}
	for _, way := range []func(context.Context) error{r.alone, r.copies, r.mended, r.moved} {
		if err := way(ctx); err != nil {
			return err
		}
		if len(r.left) == 0 {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	if r.unmended != nil {
		return fmt.Errorf("%w; its parity file does not help: %w", why, r.unmended)
	}
	return why
}

// alone reads the frame again by itself. If several frames were read at once, another one may have caused the error.
func (r *rescue) alone(ctx context.Context) error {
	return r.each(func(w *wanted) []byte { return r.stored(ctx, w.Location, w.id) })
}

// copies looks into other packs that hold the chunks.
func (r *rescue) copies(ctx context.Context) error {
	return r.each(func(w *wanted) []byte {
		for _, at := range r.loader.view.index.Places(w.id) {
			if at.Pack == r.own && at.Offset == w.Offset {
				continue
			}
			if data := r.stored(ctx, at, w.id); data != nil {
				r.note(ctx, "read from another copy")
				return data
			}
		}
		return nil
	})
}

// mended mends packs with their parity files.
func (r *rescue) mended(ctx context.Context) error {
	return r.each(func(w *wanted) []byte {
		for _, at := range append([]index.Location{w.Location}, r.loader.view.index.Places(w.id)...) {
			if data := r.mendedAt(ctx, at, w.id); data != nil {
				return data
			}
		}
		return nil
	})
}

// moved asks the current index, because a prune may have moved the chunks into other packs.
func (r *rescue) moved(ctx context.Context) error {
	var last *index.Index
	for range 3 { // a prune may move them again meanwhile, but not for ever
		x := r.loader.repo.newerIndex(ctx, r.loader.view)
		if x == nil || x == last || ctx.Err() != nil {
			return nil
		}
		last = x
		err := r.each(func(w *wanted) []byte {
			places := x.Places(w.id)
			if at, ok := x.Lookup(w.id); ok && len(places) == 0 { // perhaps in a pack that was put after the listing
				places = append(places, at)
			}
			for _, at := range places {
				data := r.stored(ctx, at, w.id)
				if data == nil {
					data = r.mendedAt(ctx, at, w.id)
				} else if x.HasPack(r.own) {
					r.note(ctx, "read from another copy")
				}
				if data != nil {
					return data
				}
			}
			return nil
		})
		if err != nil || len(r.left) == 0 {
			return err
		}
	}
	return nil
}

// each tries to get every remaining chunk. It passes on what it gets and keeps the others in left.
func (r *rescue) each(get func(w *wanted) []byte) error {
	todo := r.left
	r.left = nil
	for len(todo) > 0 {
		n := 1 // number of places that want this chunk
		for n < len(todo) && todo[n].id == todo[0].id {
			n++
		}
		data := get(&todo[0])
		if data == nil {
			r.left = append(r.left, todo[:n]...)
		} else {
			found := slices.Clone(todo[:n])
			for i := range found {
				found[i].Start, found[i].Len = 0, uint32(len(data))
			}
			if err := r.give(data, found); err != nil {
				return err
			}
		}
		todo = todo[n:]
	}
	return nil
}

// stored returns a chunk from a place in the store, or nil if it cannot be read there.
func (r *rescue) stored(ctx context.Context, at index.Location, id chunk.ID) []byte {
	if key := (frameKey{at.Pack, at.Offset}); r.key != key {
		r.key, r.raw = key, nil
		var err error
		r.raw, err = r.frame(ctx, at)
		if at.Pack == r.own {
			r.missing = layout.IsMissing(err)
		}
		if err != nil {
			r.raw = nil
		}
	}
	return r.proved(r.raw, at, id)
}

// frame reads and decodes a frame. If it is damaged, frame reads it once more, past the caches of this machine.
func (r *rescue) frame(ctx context.Context, at index.Location) (raw []byte, err error) {
	s, name, n := r.loader.view.store, layout.PackName(at.Pack), int64(at.Frame.Sealed)
	read := func() error {
		sealed, err := s.Get(ctx, name, at.Offset, n)
		if err == nil {
			raw, err = r.loader.repo.decoder.Decode(nil, sealed, at.Frame)
		}
		return err
	}
	if err = read(); errors.Is(err, pack.ErrDamaged) && store.DropRange(s, name, at.Offset, n) {
		err = read()
	}
	return raw, err
}

// mendedAt returns a chunk from a place in a pack that its parity file mends, or nil if that fails.
func (r *rescue) mendedAt(ctx context.Context, at index.Location, id chunk.ID) []byte {
	if key := (frameKey{at.Pack, at.Offset}); r.mendedKey != key {
		r.mendedKey = key
		r.mendedRaw, r.how = r.mendedFrame(ctx, at)
	}
	data := r.proved(r.mendedRaw, at, id)
	if data != nil && r.how != "" {
		r.loader.repo.healed.note(at.Pack, r.how)
	}
	return data
}

// mendedFrame opens a frame of a mended pack, and says how the pack was mended. how is "" if the pack in the store is
// whole by now.
func (r *rescue) mendedFrame(ctx context.Context, at index.Location) (raw []byte, how string) {
	m, err := r.loader.repo.mend(ctx, at.Pack)
	if at.Pack == r.own && !layout.IsMissing(err) {
		r.unmended = err
	}
	if err != nil || at.Offset+int64(at.Frame.Sealed) > int64(len(m.file)) {
		return nil, ""
	}
	// A frame is decrypted in place, and the pack's memory is used again.
	sealed := slices.Clone(m.file[at.Offset:][:at.Frame.Sealed])
	if raw, err = r.loader.repo.decoder.Decode(nil, sealed, at.Frame); err != nil {
		return nil, ""
	}
	if !m.whole {
		how = m.how()
	}
	return raw, how
}

// proved returns a chunk from a decoded frame, or nil if the frame does not hold it.
func (r *rescue) proved(raw []byte, at index.Location, id chunk.ID) []byte {
	if uint64(at.Start)+uint64(at.Len) > uint64(len(raw)) {
		return nil
	}
	if data := raw[at.Start:][:at.Len]; len(data) > 0 && r.loader.namer.ID(data) == id {
		return data
	}
	return nil
}

// note records how the pack's chunks were read. A pack that a prune has deleted meanwhile is not damaged.
func (r *rescue) note(ctx context.Context, how string) {
	if r.noted {
		return
	}
	r.noted = true
	if r.missing {
		if x := r.loader.repo.newerIndex(ctx, r.loader.view); x != nil && !x.HasPack(r.own) {
			return
		}
		how = "missing; " + how
	}
	r.loader.repo.healed.note(r.own, how)
}
