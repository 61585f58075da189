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

// Sources reports whether chunks can be read. It trusts the index and the listing of packs. If a pack is missing, has
// another length or is known to be damaged, it reads the pack's frames one by one. It is safe for concurrent use.
type Sources struct {
	repo *Repo

	mu     sync.Mutex
	frames map[frameKey]error // of packs that are not whole; nil for readable frames
}

// Sources returns a Sources for the current state of the repository.
func (r *Repo) Sources() *Sources { return &Sources{repo: r, frames: map[frameKey]error{}} }

// Has returns nil if Load can read a chunk of that length. The chunk may be in the indexed pack, in another pack, or in
// the rest of a damaged pack. Parity may restore it, or a prune may have moved it. Otherwise the error says why not. It
// is a *MissingError, wraps pack.ErrDamaged or fs.ErrNotExist, or comes from the store.
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

// try reads a chunk. If the chunk is in no other place, the result holds for its whole frame.
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
