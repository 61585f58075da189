package repo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"platter/chunk"
	"platter/index"
	"platter/pack"
)

// A MissingError says that no index file lists a chunk.
type MissingError struct{ ID chunk.ID }

func (e *MissingError) Error() string {
	return fmt.Sprintf("chunk %v is in no index; 'check' tells what that costs, 'repair index' finds what lost index files listed", e.ID)
}

// Unwrap returns ErrMissing.
func (e *MissingError) Unwrap() error { return ErrMissing }

// ErrMissing says of any chunk that no index file lists it.
var ErrMissing = errors.New("a chunk is in no index")

// A frameKey names a frame of the repository.
type frameKey struct {
	pack   pack.ID
	offset int64
}

// How far reads are gathered: a round trip to a NAS costs as much as reading some hundred KiB.
const (
	maxGap  = 256 << 10 // bytes read in vain between two frames
	maxRead = 4 << 20   // bytes at once
)

// A wanted chunk is one that Load was asked for.
type wanted struct {
	index.Location
	at int // position in the caller's ids
}

func (w *wanted) key() frameKey { return frameKey{w.Pack, w.Offset} }

// Load hands chunks of one kind to fn, in the order in which they lie in packs. Frames are read once, neighbours in one
// read, and each chunk's id is computed again before fn sees it. data holds only during the call. An id may stand in ids
// more than once. Errors name the pack; they are a *MissingError, or wrap pack.ErrDamaged, or come from store or fn.
func (r *Repo) Load(ctx context.Context, kind chunk.Kind, ids []chunk.ID, fn func(at int, data []byte) error) error {
	want := make([]wanted, len(ids))
	for i, id := range ids {
		loc, ok := r.index.Lookup(id)
		if !ok {
			return &MissingError{id}
		}
		if loc.Frame.Kind != kind {
			return fmt.Errorf("%s: %w: chunk %v is of the wrong kind", packName(loc.Pack), pack.ErrDamaged, id)
		}
		want[i] = wanted{loc, i}
	}
	slices.SortFunc(want, func(a, b wanted) int {
		return cmp.Or(slices.Compare(a.Pack[:], b.Pack[:]), cmp.Compare(a.Offset, b.Offset), cmp.Compare(a.Start, b.Start))
	})
	l := loader{Repo: r, kind: kind, ids: ids, fn: fn, namer: r.Namer(kind)}
	defer r.namers[kind].Put(l.namer)
	for len(want) > 0 {
		run := gather(want)
		if err := l.load(ctx, want[:run]); err != nil {
			return err
		}
		want = want[run:]
	}
	return nil
}

// gather returns how many of the wanted chunks, sorted, lie close enough for one read.
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

// A loader is one call of Load.
type loader struct {
	*Repo
	kind  chunk.Kind
	ids   []chunk.ID
	fn    func(at int, data []byte) error
	namer *chunk.Namer
	raw   []byte // of the last frame
}

// load reads a run of wanted chunks and hands them on, frame by frame.
func (l *loader) load(ctx context.Context, run []wanted) error {
	var sealed []byte
	first, last := &run[0], &run[len(run)-1]
	for len(run) > 0 {
		n := 1
		for n < len(run) && run[n].Offset == run[0].Offset {
			n++
		}
		raw, cached := l.cached(run[0].key())
		if !cached {
			if sealed == nil {
				var err error
				if sealed, err = l.read(ctx, first, last); err != nil {
					return err
				}
			}
			w := &run[0]
			var err error
			raw, err = l.decode(sealed[w.Offset-first.Offset:][:w.Frame.Sealed], w)
			if err != nil {
				return fmt.Errorf("%s: frame at %d: %w", packName(w.Pack), w.Offset, err)
			}
		}
		if err := l.handOn(raw, run[:n]); err != nil {
			return err
		}
		run = run[n:]
	}
	return nil
}

// read returns the bytes of a pack from the first wanted frame to the end of the last.
func (l *loader) read(ctx context.Context, first, last *wanted) ([]byte, error) {
	n := last.Offset + int64(last.Frame.Sealed) - first.Offset
	sealed, err := l.store.Get(ctx, packName(first.Pack), first.Offset, n)
	if err != nil {
		return nil, err
	}
	if int64(len(sealed)) != n {
		return nil, fmt.Errorf("%s: %w: it ends at %d", packName(first.Pack), pack.ErrDamaged, first.Offset+int64(len(sealed)))
	}
	return sealed, nil
}

func (l *loader) cached(key frameKey) ([]byte, bool) {
	if l.kind != chunk.Map {
		return nil, false
	}
	return l.maps.Get(key)
}

// decode opens a frame: data into memory that is used again, maps into memory that is kept.
func (l *loader) decode(sealed []byte, w *wanted) (raw []byte, err error) {
	if l.kind == chunk.Map {
		if raw, err = l.decoder.Decode(nil, sealed, w.Frame); err == nil {
			l.maps.Add(w.key(), raw)
		}
		return raw, err
	}
	l.raw, err = l.decoder.Decode(l.raw, sealed, w.Frame)
	return l.raw, err
}

// handOn gives chunks of one frame to fn, each proved by its id.
func (l *loader) handOn(raw []byte, run []wanted) error {
	for i := range run {
		w := &run[i]
		id := l.ids[w.at]
		if uint64(w.Start)+uint64(w.Len) > uint64(len(raw)) {
			return fmt.Errorf("%s: frame at %d: %w: chunk %v lies beyond its end", packName(w.Pack), w.Offset, pack.ErrDamaged, id)
		}
		data := raw[w.Start:][:w.Len]
		if l.namer.ID(data) != id {
			return fmt.Errorf("%s: frame at %d: %w: it does not hold chunk %v", packName(w.Pack), w.Offset, pack.ErrDamaged, id)
		}
		if err := l.fn(w.at, data); err != nil {
			return err
		}
	}
	return nil
}
