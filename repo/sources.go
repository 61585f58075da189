package repo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"

	"platter/chunk"
	"platter/index"
	"platter/pack"
)

// Sources tells whether chunks can be had, by the index, the listing of packs, and parity: nothing is read of packs that are
// there as they should be. It is safe for concurrent use.
type Sources struct {
	repo *Repo

	mu     sync.Mutex
	frames map[frameKey]error // of packs that are not as they should be: nil for those that can be read
	packs  map[pack.ID]error  // the same of packs as a whole: nil for those that parity mends
}

// Sources returns what knows where chunks can be had from now.
func (r *Repo) Sources() *Sources {
	return &Sources{repo: r, frames: map[frameKey]error{}, packs: map[pack.ID]error{}}
}

// Has returns nil where a chunk of so many bytes can be had, as Load would have it: from the pack that the index says or another
// one, from what is left of a pack, by parity, or from where a prune has put it meanwhile. Else the error says why not. It is a
// *MissingError, wraps pack.ErrDamaged or fs.ErrNotExist, or comes from the store.
func (s *Sources) Has(ctx context.Context, kind chunk.Kind, id chunk.ID, length uint32) error {
	x := s.repo.index
	at, ok := x.Lookup(id)
	switch {
	case !ok:
		return s.moved(ctx, id, &MissingError{id})
	case at.Frame.Kind != kind:
		return fmt.Errorf("%s: %w: chunk %v is of the wrong kind", packName(at.Pack), pack.ErrDamaged, id)
	case at.Len != length:
		return fmt.Errorf("%s: %w: chunk %v has %d bytes, and its map says %d", packName(at.Pack), pack.ErrDamaged, id, at.Len, length)
	case !x.Lacks(id) || len(x.Places(id)) > 0:
		return nil
	}
	err := s.remains(ctx, at)
	if err != nil && ctx.Err() == nil {
		err = s.moved(ctx, id, err)
	}
	return err
}

// remains returns nil where a frame can be had from a pack that is not there, or not as long as it was.
func (s *Sources) remains(ctx context.Context, at index.Location) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := frameKey{at.Pack, at.Offset}
	err, known := s.frames[key]
	if known {
		return err
	}
	end := at.Offset + int64(at.Frame.Sealed)
	last, err := s.repo.store.Get(ctx, packName(at.Pack), end-1, 1)
	if err == nil && len(last) == 0 {
		err = fmt.Errorf("%s: %w: it is shorter than it was", packName(at.Pack), pack.ErrDamaged)
	}
	if gone(err) {
		err = fmt.Errorf("%s: %w: %w", packName(at.Pack), errIsMissing, fs.ErrNotExist)
	}
	if err != nil && s.mends(ctx, at.Pack) {
		err = nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	s.frames[key] = err
	return err
}

// mends reports whether parity gives a pack back; mu is held.
func (s *Sources) mends(ctx context.Context, id pack.ID) bool {
	err, known := s.packs[id]
	if !known {
		_, err = s.repo.mend(ctx, id)
		s.packs[id] = err
	}
	return err == nil
}

// moved asks the index as it is now.
func (s *Sources) moved(ctx context.Context, id chunk.ID, why error) error {
	if x := s.repo.newerIndex(ctx); x != nil {
		if _, ok := x.Lookup(id); ok && !x.Lacks(id) {
			return nil
		}
	}
	if ctx.Err() != nil {
		return errors.Join(why, context.Cause(ctx))
	}
	return why
}
