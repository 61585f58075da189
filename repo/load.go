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
	pack   pack.FileID
	offset int64
}

// How far reads are gathered: a round trip to a NAS costs as much as reading some hundred KiB.
const (
	maxGap  = 256 << 10 // bytes read in vain between two frames
	maxRead = 2 << 20   // bytes at once, of which every goroutine of a Fetch holds as many
)

// A wanted chunk is one that Load or Fetch was asked for.
type wanted struct {
	index.Location
	id chunk.ID
	at int // position in what the caller asked for
}

func (w *wanted) key() frameKey { return frameKey{w.Pack, w.Offset} }

// of returns the chunk in its frame.
func (w *wanted) of(raw []byte) []byte { return raw[w.Start:][:w.Len] }

// Load hands chunks of one kind to fn, in the order in which they lie in packs. Frames are read once, neighbours in one
// read, and each chunk's id is computed again before fn sees it. data holds only during the call. An id may stand in ids
// more than once. What is damaged and can be had all the same is no error: Healed tells of it. Errors name the pack; they are a
// *MissingError, or wrap pack.ErrDamaged, or come from store or fn.
func (r *Repo) Load(ctx context.Context, kind chunk.Kind, ids []chunk.ID, fn func(at int, data []byte) error) error {
	v := r.view()
	want, err := v.locate(kind, len(ids), func(i int) chunk.ID { return ids[i] })
	if err != nil {
		return err
	}
	l := r.newLoader(v, kind)
	defer l.close()
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

// locate looks n chunks up and sorts them as they lie in packs.
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

// A loader reads and opens frames one after the other, into memory that it uses again. It is not safe for concurrent use.
type loader struct {
	repo   *Repo
	view   *view
	kind   chunk.Kind
	namer  *chunk.Namer
	sealed []byte // of the last run
	raw    []byte // of the last frame, and as long as the longest was
}

func (r *Repo) newLoader(v *view, kind chunk.Kind) *loader {
	l, ok := r.loaders.Get().(*loader)
	if !ok {
		l = &loader{repo: r}
	}
	l.view, l.kind, l.namer = v, kind, r.Namer(kind)
	return l
}

// close lets others have the memory.
func (l *loader) close() {
	l.repo.Return(l.kind, l.namer)
	l.view, l.namer = nil, nil
	l.repo.loaders.Put(l)
}

// load reads a run of wanted chunks and hands them on, frame by frame, each proved by its id. What cannot be had where the
// index says is looked for elsewhere, see rescue. raw holds only during the call.
func (l *loader) load(ctx context.Context, run []wanted, fn func(raw []byte, run []wanted) error) error {
	var sealed []byte
	var unread error // why there is no sealed
	first, last := &run[0], &run[len(run)-1]
	for len(run) > 0 {
		n := 1
		for n < len(run) && run[n].Offset == run[0].Offset {
			n++
		}
		raw, cached := l.cached(run[0].key())
		var err error
		if !cached {
			if sealed == nil && unread == nil {
				sealed, unread = l.read(ctx, first, last)
			}
			if err = unread; err == nil {
				raw, err = l.decode(sealed[run[0].Offset-first.Offset:], &run[0])
			}
		}
		if err == nil {
			err = l.prove(raw, run[:n])
		}
		switch {
		case err == nil:
			err = fn(raw, run[:n])
		case ctx.Err() == nil:
			err = l.rescue(ctx, run[:n], raw, err, fn)
		}
		if err != nil {
			return err
		}
		run = run[n:]
	}
	return nil
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

func (l *loader) cached(key frameKey) ([]byte, bool) {
	if l.kind != chunk.Map {
		return nil, false
	}
	return l.repo.maps.Get(key)
}

// decode opens the frame that sealed begins with: data into memory that is used again, maps into memory that is kept.
func (l *loader) decode(sealed []byte, w *wanted) (raw []byte, err error) {
	sealed = sealed[:w.Frame.Sealed]
	if l.kind == chunk.Map {
		if raw, err = l.repo.decoder.Decode(nil, sealed, w.Frame); err == nil {
			l.repo.maps.Add(w.key(), raw)
		}
	} else {
		if cap(l.raw) < int(w.Frame.Raw) {
			l.raw = make([]byte, w.Frame.Raw)
		}
		raw, err = l.repo.decoder.Decode(l.raw, sealed, w.Frame)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: frame at %d: %w", layout.PackName(w.Pack), w.Offset, err)
	}
	return raw, nil
}

// prove computes the ids of chunks of one frame; of a chunk that is wanted in several places, once.
func (l *loader) prove(raw []byte, run []wanted) error {
	for i := range run {
		w := &run[i]
		if i > 0 && w.id == run[i-1].id {
			continue
		}
		if uint64(w.Start)+uint64(w.Len) > uint64(len(raw)) {
			return fmt.Errorf("%s: frame at %d: %w: chunk %v lies beyond its end", layout.PackName(w.Pack), w.Offset, pack.ErrDamaged, w.id)
		}
		if l.namer.ID(w.of(raw)) != w.id {
			return fmt.Errorf("%s: frame at %d: %w: it does not hold chunk %v", layout.PackName(w.Pack), w.Offset, pack.ErrDamaged, w.id)
		}
	}
	return nil
}
