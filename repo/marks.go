package repo

import (
	"slices"
	"sync"

	"platter/chunk"
	"platter/index"
	"platter/pack"
)

// Marks are the chunks that somebody needs, four bytes a chunk of the index. They are safe for concurrent use.
type Marks struct {
	mu      sync.Mutex
	values  *index.Values
	missing map[chunk.ID]uint32    // needed, and in no index file
	hosts   map[pack.FileID]string // of snapshots, the machines that they are of

	missingWhenRead []pack.FileID // snapshots that were listed, and not there when they were read
	kin             []kin
	unsure          []pack.FileID // snapshots that are kept aside, and may need anything
}

// A kin is a snapshot that says which one was there when it was made.
type kin struct{ of, before pack.FileID }

// What is known of a chunk.
const (
	needed       = 1 << iota
	walked       // it is a node or a page, and what hangs below it is or will be marked
	spared       // a snapshot that is kept aside needs it
	sparedWalked // as walked
)

func newMarks(x *index.Index) *Marks {
	return &Marks{values: x.Values(), missing: map[chunk.ID]uint32{}, hosts: map[pack.FileID]string{}}
}

// Host notes on which machine a snapshot was made.
func (m *Marks) Host(snapshot pack.FileID, host string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hosts[snapshot] = host
}

// Mark notes that a chunk is needed.
func (m *Marks) Mark(id chunk.ID) { m.mark(id, needed) }

// Walk notes that a chunk of a map is needed, and reports whether nobody has said so with Walk before. That it was marked says
// nothing of what hangs below it: a hostile page may name a node as if it were data.
func (m *Marks) Walk(id chunk.ID) bool { return m.mark(id, needed|walked)&walked == 0 }

// Keep notes that a snapshot needs a chunk that is kept aside: it is not to go, but neither is it missed.
func (m *Marks) Keep(id chunk.ID) { m.mark(id, spared) }

// KeepWalk is Walk for snapshots that are kept aside.
func (m *Marks) KeepWalk(id chunk.ID) bool { return m.mark(id, spared|sparedWalked)&sparedWalked == 0 }

// KeepAway notes that a snapshot which is kept aside needs a chunk that cannot be had: packs that no index lists may have it.
func (m *Marks) KeepAway(id chunk.ID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if v, _ := m.values.At(id); v != nil {
		*v &^= spared
	}
	m.missing[id] |= spared
}

// Unsure notes that nobody knows what a snapshot needs that is kept aside: neither it nor its map can be read.
func (m *Marks) Unsure(id pack.FileID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !slices.Contains(m.unsure, id) {
		m.unsure = append(m.unsure, id)
	}
}

// missed returns how many chunks are needed, by other snapshots than those that are kept aside, and in no index file.
func (m *Marks) missed() (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, v := range m.missing {
		if v&needed != 0 {
			n++
		}
	}
	return n
}

// Missing notes that a snapshot was not there when it was read. Prune goes on only if it was forgotten.
func (m *Marks) Missing(id pack.FileID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.missingWhenRead = append(m.missingWhenRead, id)
}

// After notes that a snapshot names another as the version before it. Prune goes on only if that one is there, or somebody has
// forgotten it.
func (m *Marks) After(of, before pack.FileID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kin = append(m.kin, kin{of, before})
}

// mark adds to what is known of a chunk, and returns what was.
func (m *Marks) mark(id chunk.ID, as uint32) (before uint32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, _ := m.values.At(id)
	if v == nil {
		before = m.missing[id]
		m.missing[id] = before | as
		return before
	}
	before = *v
	*v = before | as
	return before
}

// needs reports whether a chunk is needed. What the marks know nothing of may be.
func (m *Marks) needs(id chunk.ID) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, _ := m.values.At(id)
	return v == nil || *v&(needed|spared) != 0
}
