package repo

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"platter/chunk"
	"platter/index"
	"platter/pack"
	"platter/repo/layout"
)

// Sources tells whether chunks can be had. The index and the listing of packs are believed. Where those say that a pack is
// gone, of another length, or known to be damaged, its frames are read, one by one. It is safe for concurrent use.
type Sources struct {
	repo *Repo

	mu     sync.Mutex
	frames map[frameKey]error // of packs that are not as they should be: nil for those that can be read
}

// Sources returns what knows where chunks can be had from now.
func (r *Repo) Sources() *Sources { return &Sources{repo: r, frames: map[frameKey]error{}} }

// Has returns nil where a chunk of so many bytes can be had as Load has it: from the pack that the index says or another one, from
// what is left of a pack, by parity, or from where a prune has put it meanwhile. Else the error says why not. It is a *MissingError,
// wraps pack.ErrDamaged or fs.ErrNotExist, or comes from the store.
func (s *Sources) Has(ctx context.Context, kind chunk.Kind, id chunk.ID, length uint32) error {
	x := s.repo.view().index
	at, ok := x.Lookup(id)
	switch {
	case !ok:
		return &MissingError{id}
	case at.Frame.Kind != kind:
		return fmt.Errorf("%s: %w: chunk %v is of the wrong kind", layout.PackName(at.Pack), pack.ErrDamaged, id)
	case at.Len != length:
		return fmt.Errorf("%s: %w: chunk %v has %d bytes, and its map says %d", layout.PackName(at.Pack), pack.ErrDamaged, id, at.Len, length)
	case !x.Missing(id):
		return nil
	}
	elsewhere := slices.ContainsFunc(x.Places(id), func(other index.Location) bool { return other.Pack != at.Pack })
	return s.try(ctx, kind, id, frameKey{at.Pack, at.Offset}, !elsewhere)
}

// try reads a chunk. What comes of it holds for its whole frame, if there is no other that it could be had from.
func (s *Sources) try(ctx context.Context, kind chunk.Kind, id chunk.ID, frame frameKey, only bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err, known := s.frames[frame]; only && known {
		return err
	}
	err := s.repo.Load(ctx, kind, []chunk.ID{id}, func(int, []byte) error { return nil })
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if layout.IsMissing(err) {
		err = fmt.Errorf("%s: %w: %w", layout.PackName(frame.pack), errMissing, err)
	}
	if only {
		s.frames[frame] = err
	}
	return err
}
