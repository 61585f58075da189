package repo

import (
	"bytes"
	"cmp"
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

// A MissingError is the error for a chunk that no index file lists.
type MissingError struct{ ID chunk.ID }

func (e *MissingError) Error() string {
	return fmt.Sprintf("chunk %v is in no index file; 'check' shows what that damages, and 'repair index' finds what missing index files listed", e.ID)
}

// Unwrap returns ErrMissing.
func (e *MissingError) Unwrap() error { return ErrMissing }

// ErrMissing matches every MissingError.
var ErrMissing = errors.New("a chunk is in no index file")

// A frameKey names a frame of the repository.
type frameKey struct {
	pack   pack.FileID
	offset int64
}

// Limits of merging reads. A round trip to a NAS costs as much as reading some hundred KiB.
const (
	maxGap  = 256 << 10 // unneeded bytes between two frames
	maxRead = 2 << 20   // bytes of one read; each goroutine of a Fetch holds that much
)

// A wanted chunk is one that the caller of Load or Fetch asked for.
type wanted struct {
	index.Location
	id chunk.ID
	at int // position in the caller's list
}

func (w *wanted) key() frameKey { return frameKey{w.Pack, w.Offset} }

// of returns the bytes of the chunk in its decoded frame.
func (w *wanted) of(raw []byte) []byte { return raw[w.Start:][:w.Len] }

// Load calls fn for chunks of one kind, in the order of their packs. It reads each frame once, and neighbours in one read.
// It verifies each chunk's ID before fn gets the chunk. data is valid only during the call. ids may repeat an ID. Damage
// that a copy or parity makes good is no error: Healed reports it. Errors name the pack. They are a *MissingError, wrap
// pack.ErrDamaged, or come from the store or fn.
func (r *Repo) Load(ctx context.Context, kind chunk.Kind, ids []chunk.ID, fn func(at int, data []byte) error) error {
	return r.load(ctx, kind, ids, nil, fn)
}

// load is Load with a cache for frames of data, which may be nil.
func (r *Repo) load(ctx context.Context, kind chunk.Kind, ids []chunk.ID, frames *FrameCache, fn func(at int, data []byte) error) error {
	v := r.view()
	want, err := v.locate(kind, len(ids), func(i int) chunk.ID { return ids[i] })
	if err != nil {
		return err
	}
	l := r.newLoader(v, kind)
	defer l.close()
	l.frames = frames
	for len(want) > 0 {
		run := gather(want)
		err := l.load(ctx, want[:run], func(raw []byte, run []wanted) error {
			for i := range run {
				if err := fn(run[i].at, run[i].of(raw)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		want = want[run:]
	}
	return nil
}

// locate looks up n chunks and sorts them by their place in packs.
func (v *view) locate(kind chunk.Kind, n int, id func(i int) chunk.ID) ([]wanted, error) {
	want := make([]wanted, n)
	for i := range want {
		id := id(i)
		loc, ok := v.index.Lookup(id)
		if !ok {
			return nil, &MissingError{id}
		}
		if loc.Frame.Kind != kind {
			return nil, fmt.Errorf("%s: %w: chunk %v is of the wrong kind", layout.PackName(loc.Pack), pack.ErrDamaged, id)
		}
		want[i] = wanted{loc, id, i}
	}
	slices.SortFunc(want, func(a, b wanted) int {
		return cmp.Or(bytes.Compare(a.Pack[:], b.Pack[:]), cmp.Compare(a.Offset, b.Offset), cmp.Compare(a.Start, b.Start))
	})
	return want, nil
}

// gather returns how many of the sorted chunks are close enough for one read.
func gather(want []wanted) int {
	first := &want[0]
	end := first.Offset + int64(first.Frame.Sealed)
	for i := 1; i < len(want); i++ {
		w := &want[i]
		if w.Pack != first.Pack || w.Offset > end+maxGap || w.Offset+int64(w.Frame.Sealed)-first.Offset > maxRead && w.Offset >= end {
			return i
		}
		end = max(end, w.Offset+int64(w.Frame.Sealed))
	}
	return len(want)
}

// A loader reads and opens one frame after the other into memory that it reuses. It is not safe for concurrent use.
type loader struct {
	repo   *Repo
	view   *view
	kind   chunk.Kind
	namer  *chunk.Namer
	frames *FrameCache // nil for none
	sealed []byte      // of the last run
	raw    []byte      // of the last frame, with the capacity of the longest
}

func (r *Repo) newLoader(v *view, kind chunk.Kind) *loader {
	l, ok := r.loaders.Get().(*loader)
	if !ok {
		l = &loader{repo: r}
	}
	l.view, l.kind, l.namer = v, kind, r.Namer(kind)
	return l
}

// close returns the loader and its memory to the pool.
func (l *loader) close() {
	l.repo.Return(l.kind, l.namer)
	l.view, l.namer, l.frames = nil, nil, nil
	l.repo.loaders.Put(l)
}

// load reads a run of wanted chunks and calls fn for each frame, with all IDs verified. If a chunk cannot be read from the
// place in the index, rescue looks for it elsewhere. raw is valid only during the call.
func (l *loader) load(ctx context.Context, run []wanted, fn func(raw []byte, run []wanted) error) error {
	stored := sealedRun{loader: l, first: &run[0], last: &run[len(run)-1]}
	for len(run) > 0 {
		n := 1
		for n < len(run) && run[n].Offset == run[0].Offset {
			n++
		}
		if err := l.loadFrame(ctx, &stored, run[:n], fn); err != nil {
			return err
		}
		run = run[n:]
	}
	return nil
}

// loadFrame calls fn with the wanted chunks of one frame.
func (l *loader) loadFrame(ctx context.Context, stored *sealedRun, run []wanted, fn func(raw []byte, run []wanted) error) error {
	raw, f, err := l.frame(ctx, stored, run)
	if f != nil {
		defer l.frames.release(f)
	}
	if err == nil {
		if err = l.prove(raw, f, run); err != nil && f != nil {
			l.frames.drop(f)
			raw = nil // this memory may have changed, not the pack
		}
	}
	switch {
	case err == nil:
		return fn(raw, run)
	case ctx.Err() == nil:
		return l.rescue(ctx, run, raw, err, fn)
	}
	return err
}

// frame returns the decoded frame of a wanted chunk. f is the cached frame, which the caller must release, or nil.
func (l *loader) frame(ctx context.Context, stored *sealedRun, run []wanted) (raw []byte, f *frame, err error) {
	w := &run[0]
	switch {
	case l.kind == chunk.Map:
		raw, ok := l.repo.maps.Get(w.key())
		if !ok {
			if raw, err = stored.decode(ctx, nil, w); err == nil {
				l.repo.maps.Add(w.key(), raw)
			}
		}
		return raw, nil, err
	case l.frames != nil:
		f, err = l.frames.get(ctx, w, neededOf(run), func(dst []byte, n int) ([]byte, error) { return stored.decodePrefix(ctx, dst, w, n) })
		if err != nil {
			return nil, nil, err
		}
		return f.raw, f, nil
	}
	if cap(l.raw) < int(w.Frame.Raw) {
		l.raw = make([]byte, w.Frame.Raw)
	}
	raw, err = stored.decode(ctx, l.raw, w)
	return raw, nil, err
}

// fewChunks is how many wanted chunks of a frame are few, so that the rest of the frame is probably not wanted soon. Who
// reads on wants more of them at once, and read-ahead does.
const fewChunks = 3

// neededOf returns how many bytes of their frame the wanted chunks need, from its beginning.
func neededOf(run []wanted) int {
	end := uint64(0)
	for i := range run {
		end = max(end, uint64(run[i].Start)+uint64(run[i].Len))
	}
	if raw := uint64(run[0].Frame.Raw); len(run) > fewChunks || end > raw {
		end = raw
	}
	return int(end)
}

// A sealedRun is the part of a pack from the first wanted frame to the end of the last. It is read once, and only if one
// of its frames must be decoded.
type sealedRun struct {
	loader      *loader
	first, last *wanted
	sealed      []byte
	err         error // why there is no sealed
}

// decode decodes the frame of a wanted chunk, into dst if that is large enough. It overwrites the sealed frame.
func (s *sealedRun) decode(ctx context.Context, dst []byte, w *wanted) ([]byte, error) {
	return s.decodePrefix(ctx, dst, w, int(w.Frame.Raw))
}

// decodePrefix is decode for callers that need only the first n bytes of the frame; see pack.Decoder.DecodePrefix.
func (s *sealedRun) decodePrefix(ctx context.Context, dst []byte, w *wanted, n int) ([]byte, error) {
	if s.sealed == nil && s.err == nil {
		s.sealed, s.err = s.loader.read(ctx, s.first, s.last)
	}
	if s.err != nil {
		return nil, s.err
	}
	sealed := s.sealed[w.Offset-s.first.Offset:][:w.Frame.Sealed]
	raw, err := s.loader.repo.decoder.DecodePrefix(dst, sealed, w.Frame, n)
	if err != nil {
		return nil, fmt.Errorf("%s: frame at %d: %w", layout.PackName(w.Pack), w.Offset, err)
	}
	return raw, nil
}

// read returns the bytes of a pack from the first wanted frame to the end of the last.
func (l *loader) read(ctx context.Context, first, last *wanted) ([]byte, error) {
	n := last.Offset + int64(last.Frame.Sealed) - first.Offset
	if int64(cap(l.sealed)) < n {
		l.sealed = make([]byte, max(n, min(2*int64(cap(l.sealed)), maxRead)))
	}
	sealed, err := store.GetInto(ctx, l.view.store, l.sealed, layout.PackName(first.Pack), first.Offset, n)
	if err != nil {
		return nil, err
	}
	if int64(len(sealed)) != n {
		return nil, fmt.Errorf("%s: %w: it ends at %d", layout.PackName(first.Pack), pack.ErrDamaged, first.Offset+int64(len(sealed)))
	}
	return sealed, nil
}

// prove verifies the IDs of the wanted chunks of one frame. It computes each ID once, even if the chunk is wanted several
// times, and once in all for a cached frame f. f is nil without a cache.
func (l *loader) prove(raw []byte, f *frame, run []wanted) error {
	for i := range run {
		w := &run[i]
		if i > 0 && w.id == run[i-1].id || f != nil && f.isProved(w) {
			continue
		}
		if uint64(w.Start)+uint64(w.Len) > uint64(len(raw)) {
			return fmt.Errorf("%s: frame at %d: %w: chunk %v is beyond its end", layout.PackName(w.Pack), w.Offset, pack.ErrDamaged, w.id)
		}
		if l.namer.ID(w.of(raw)) != w.id {
			return fmt.Errorf("%s: frame at %d: %w: it does not hold chunk %v", layout.PackName(w.Pack), w.Offset, pack.ErrDamaged, w.id)
		}
		if f != nil {
			f.setProved(w)
		}
	}
	return nil
}
