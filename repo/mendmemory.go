package repo

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"platter/index"
	"platter/pack"
	"platter/pack/parity"
	"platter/repo/layout"
)

// A mended pack is one that is as it was, in memory.
type mended struct {
	id    pack.FileID
	file  []byte
	lost  int  // sectors that its parity file gave back
	whole bool // in the store, too: there was nothing to mend
}

// how words what was done.
func (m *mended) how() string {
	switch m.lost {
	case 0:
		return "of another length than it was; mended from its parity file"
	case 1:
		return "1 sector of it is lost; mended from its parity file"
	}
	return fmt.Sprintf("%d sectors of it are lost; mended from its parity file", m.lost)
}

// mends are the packs that were mended last, and those that cannot be: reading a pack from a disk that fails takes long. One
// is mended at a time, for all goroutines that want it.
type mends struct {
	mu         sync.Mutex
	last       []*mended
	unmendable map[pack.FileID]error
}

// mend returns a pack as it was, from what can be read of it and of its parity file. Nothing in the store is changed. Its
// memory is shared with others.
func (r *Repo) mend(ctx context.Context, id pack.FileID) (*mended, error) {
	r.mends.mu.Lock()
	defer r.mends.mu.Unlock()
	if at := slices.IndexFunc(r.mends.last, func(m *mended) bool { return m.id == id }); at >= 0 {
		m := r.mends.last[at]
		r.mends.last = append(slices.Delete(r.mends.last, at, at+1), m) // the one that goes next is the first
		return m, nil
	}
	if err := r.mends.unmendable[id]; err != nil {
		return nil, err
	}
	if len(r.mends.last) >= packsInMemory { // gone before there is another, so that it is no more
		r.mends.last = slices.Delete(r.mends.last, 0, 1)
	}
	m, err := r.mendNow(ctx, id)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		if r.mends.unmendable == nil {
			r.mends.unmendable = map[pack.FileID]error{}
		}
		r.mends.unmendable[id] = err
		return nil, err
	}
	r.mends.last = append(r.mends.last, m)
	return m, nil
}

// maxUnread is how many sectors of a parity file may be unreadable: more is a store that is not there any more.
const maxUnread = 256

func (r *Repo) mendNow(ctx context.Context, id pack.FileID) (*mended, error) {
	par, err := r.readAround(ctx, layout.ParityName(id), parity.MaxFile, maxUnread)
	if err != nil {
		return nil, err
	}
	g, err := parity.Describe(par)
	if err == nil && (g.Pack != id || g.Size != r.sizeOf(id, g.Size)) {
		err = fmt.Errorf("%w: it is the parity of another pack", pack.ErrDamaged)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", layout.ParityName(id), err)
	}
	file, err := r.readAround(ctx, layout.PackName(id), g.Size+1, g.Groups*g.Parity)
	if err != nil && !layout.IsMissing(err) { // there may be as much parity as pack
		return nil, err
	}
	fixed, report, err := parity.Repair(file, g.Size, par, id)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", layout.PackName(id), err)
	}
	return &mended{id, fixed, len(report.LostData), int64(len(file)) == g.Size && len(report.LostData) == 0}, nil
}

// sizeOf returns how long a pack is by the index, or size where the index does not know it. A parity file that says something
// else could ask for memory that no pack needs.
func (r *Repo) sizeOf(id pack.FileID, size int64) int64 {
	packs := r.view().index.Packs()
	if at := slices.IndexFunc(packs, func(p index.Pack) bool { return p.ID == id }); at >= 0 {
		return packs[at].Size
	}
	return size
}

// readAround returns what can be read of the first limit bytes of a file, with zeros in the place of sectors that cannot be
// read, if they are no more than room.
func (r *Repo) readAround(ctx context.Context, name string, limit int64, room int) ([]byte, error) {
	a := &around{repo: r, name: name, room: room}
	for off := int64(0); off < limit; off += aroundStep {
		end, err := a.read(ctx, off, min(aroundStep, limit-off))
		if err != nil {
			return nil, err
		}
		if end {
			break
		}
	}
	return a.data, nil
}

// Where a read fails, parts of it are read, and parts of those. A disk takes seconds to find out that it cannot read a sector,
// so few reads should meet the same one.
const (
	aroundStep  = 1 << 20
	aroundParts = 16
)

// around is a file that is being read past what cannot be read.
type around struct {
	repo *Repo
	name string
	room int // sectors that may still be lost
	data []byte
}

// read appends n bytes from off on. It reports whether the file ends before them.
func (a *around) read(ctx context.Context, off, n int64) (end bool, err error) {
	got, err := a.repo.view().store.Get(ctx, a.name, off, n)
	switch {
	case err == nil:
		a.data = append(a.data, got...)
		return int64(len(got)) < n, nil
	case ctx.Err() != nil || layout.IsMissing(err):
		return false, err
	case n <= parity.Sector:
		if a.room--; a.room < 0 {
			return false, fmt.Errorf("%w: %w", parity.ErrTooDamaged, err)
		}
		a.data = append(a.data, make([]byte, n)...)
		return false, nil
	}
	step := max(n/aroundParts/parity.Sector*parity.Sector, parity.Sector)
	for from := off; from < off+n; from += step {
		if end, err = a.read(ctx, from, min(step, off+n-from)); end || err != nil {
			return end, err
		}
	}
	return false, nil
}

// healed are packs that could not be read as they should, and out of which everything was had all the same.
type healed struct {
	mu  sync.Mutex
	how map[pack.FileID]string
}

func (h *healed) note(id pack.FileID, how string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.how == nil {
		h.how = map[pack.FileID]string{}
	}
	if _, ok := h.how[id]; !ok {
		h.how[id] = how
	}
}

// Healed tells which packs have turned out to be damaged without anything being lost by it, and how that was, a sentence
// each, in the order of their names. The packs are as damaged as before.
func (r *Repo) Healed() (lines []string) {
	r.healed.mu.Lock()
	defer r.healed.mu.Unlock()
	for _, id := range slices.SortedFunc(maps.Keys(r.healed.how), func(a, b pack.FileID) int { return slices.Compare(a[:], b[:]) }) {
		lines = append(lines, layout.PackName(id)+": "+r.healed.how[id])
	}
	return lines
}
