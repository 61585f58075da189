package index

import (
	"platter/chunk"
	"platter/pack"
)

// Missing reports whether index files list the chunk, but no pack that can be built on holds it and nothing has
// claimed it. Claim would grant such a chunk.
func (x *Index) Missing(id chunk.ID) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	e, ok := x.recent(id)
	if ok && (e.frame == claimed || x.lives(e.frame)) {
		return false
	}
	_, live, there := x.stored(id)
	return !live && (ok || there)
}

// Resume ends what Suspend began.
func (x *Index) Resume(packs []pack.FileID) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, id := range packs {
		if at, ok := x.known[id]; ok {
			x.packs[at].Suspended = false
		}
	}
	x.prefer()
}
