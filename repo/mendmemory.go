package repo

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"

	"platter/index"
	"platter/pack"
	"platter/pack/parity"
	"platter/repo/layout"
	"platter/repo/store"
)

// A mended pack is a pack with its original bytes, in memory.
type mended struct {
	id    pack.FileID
	file  []byte
	lost  int  // sectors restored from its parity file
	whole bool // the pack in the store is whole, too: there was nothing to mend
}

// how says how the pack was mended.
func (m *mended) how() string {
	switch m.lost {
	case 0:
		return "of another length than it was; mended from its parity file"
	case 1:
		return "1 sector of it is lost; mended from its parity file"
	}
	return fmt.Sprintf("%d of its sectors are damaged; mended from its parity file", m.lost)
}

// mends are the packs that were mended last, and those that cannot be mended: reading a pack from a failing disk takes
// long. Only one pack is mended at a time, for all goroutines that want it.
type mends struct {
	mu         sync.Mutex
	last       []*mended
	unmendable map[pack.FileID]error
}

// mend returns the original bytes of a pack, from the readable parts of the pack and of its parity file. It changes
// nothing in the store. Callers share the result's memory.
func (r *Repo) mend(ctx context.Context, id pack.FileID) (*mended, error) {
	r.mends.mu.Lock()
	defer r.mends.mu.Unlock()
	if at := slices.IndexFunc(r.mends.last, func(m *mended) bool { return m.id == id }); at >= 0 {
		m := r.mends.last[at]
		r.mends.last = append(slices.Delete(r.mends.last, at, at+1), m) // the first one is dropped next
		return m, nil
	}
	if err := r.mends.unmendable[id]; err != nil {
		return nil, err
	}
	if len(r.mends.last) >= packsInMemory { // dropped before another is made, to stay within the limit
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

// maxUnread is how many sectors of a parity file may be unreadable. More of them mean that the store does not answer.
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
	store.DropRange(r.view().store, layout.PackName(id), 0, math.MaxInt64) // bytes damaged on their way would count as damage
	file, err := r.readAround(ctx, layout.PackName(id), g.Size+1, g.Groups*g.Parity)
	if err != nil && !layout.IsMissing(err) { // if there is as much parity as pack, it restores a missing pack
		return nil, err
	}
	fixed, report, err := parity.Repair(file, g.Size, par, id)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", layout.PackName(id), err)
	}
	return &mended{id, fixed, len(report.LostData), int64(len(file)) == g.Size && len(report.LostData) == 0}, nil
}

// sizeOf returns the length of a pack by the index, or size if the index does not know the pack. A wrong parity file
// could otherwise demand memory that no pack needs.
func (r *Repo) sizeOf(id pack.FileID, size int64) int64 {
	packs := r.view().index.Packs()
	if at := slices.IndexFunc(packs, func(p index.Pack) bool { return p.ID == id }); at >= 0 {
		return packs[at].Size
	}
	return size
}

// readAround returns the first limit bytes of a file. It fills unreadable sectors with zeros, up to room sectors.
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

// If a read fails, its parts are read, and their parts. A disk takes seconds to report an unreadable sector, so few
// reads should touch the same one.
const (
	aroundStep  = 1 << 20
	aroundParts = 16
)

// around is a file that is being read around unreadable sectors.
type around struct {
	repo *Repo
	name string
	room int // sectors that may still be lost
	data []byte
}

// read appends n bytes from offset off. It reports whether the file ends before that.
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

// healed are packs that could not be read normally, but whose wanted chunks were all found elsewhere.
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

// Healed lists the packs that turned out to be damaged without loss, and how their data was read: one sentence each,
// sorted by name. The packs are as damaged as before.
func (r *Repo) Healed() (lines []string) {
	r.healed.mu.Lock()
	defer r.healed.mu.Unlock()
	for _, id := range slices.SortedFunc(maps.Keys(r.healed.how), func(a, b pack.FileID) int { return slices.Compare(a[:], b[:]) }) {
		lines = append(lines, layout.PackName(id)+": "+r.healed.how[id])
	}
	return lines
}
