package index

import (
	"platter/chunk"
	"platter/pack"
)

// Lacks reports whether a chunk is one that Claim would have stored again: index files list it, no pack has it that is
// there and can be built upon, and nobody was told to store it.
func (x *Index) Lacks(id chunk.ID) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	e, ok := x.recent(id)
	if ok && (e.frame == claimed || x.lives(e.frame)) {
		return false
	}
	_, live, there := x.stored(id)
	return !live && (ok || there)
}

// Trust ends what Doubt began.
func (x *Index) Trust(packs []pack.FileID) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, id := range packs {
		if at, ok := x.known[id]; ok {
			x.packs[at].Doubted = false
		}
	}
	x.prefer()
}
