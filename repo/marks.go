package repo

import (
	"slices"
	"sync"

	"platter/chunk"
	"platter/index"
	"platter/pack"
)

// Marks are the chunks that snapshots need, four bytes for each chunk of the index. They are safe for concurrent use.
type Marks struct {
	mu      sync.Mutex
	values  *index.Values
	missing map[chunk.ID]uint32    // needed, and in no index file
	hosts   map[pack.FileID]string // the machine that made each snapshot

	missingWhenRead []pack.FileID // snapshots that were listed, but missing when they were read
	kin             []kin
	unsure          []pack.FileID // snapshots that are kept aside and may need anything
}

// A kin is a snapshot that names the version before it.
type kin struct{ of, before pack.FileID }

// What is known about a chunk.
const (
	needed       = 1 << iota
	walked       // it is a node or a page, and what is below it is or will be marked
	spared       // a snapshot that is kept aside needs it
	sparedWalked // as walked, for snapshots that are kept aside
)

func newMarks(x *index.Index) *Marks {
	return &Marks{values: x.Values(), missing: map[chunk.ID]uint32{}, hosts: map[pack.FileID]string{}}
}

// Host records which machine made a snapshot.
func (m *Marks) Host(snapshot pack.FileID, host string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hosts[snapshot] = host
}

// Mark records that a chunk is needed.
func (m *Marks) Mark(id chunk.ID) { m.mark(id, needed) }

// Walk records that a chunk of a map is needed, and reports whether this is the first Walk of it. A Mark says nothing
// about the chunks below: a hostile page may name a node as if it were data.
func (m *Marks) Walk(id chunk.ID) bool { return m.mark(id, needed|walked)&walked == 0 }

// Keep records that a snapshot that is kept aside needs a chunk. The chunk must stay, but it is not a fault if it is
// missing.
func (m *Marks) Keep(id chunk.ID) { m.mark(id, spared) }

// KeepWalk is Walk for snapshots that are kept aside.
func (m *Marks) KeepWalk(id chunk.ID) bool { return m.mark(id, spared|sparedWalked)&sparedWalked == 0 }

// KeepAway records that a snapshot that is kept aside needs a chunk that cannot be read. An orphaned pack may hold it.
func (m *Marks) KeepAway(id chunk.ID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if v, _ := m.values.At(id); v != nil {
		*v &^= spared
	}
	m.missing[id] |= spared
}

// Unsure records that a snapshot that is kept aside may need anything: it or its map cannot be read.
func (m *Marks) Unsure(id pack.FileID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !slices.Contains(m.unsure, id) {
		m.unsure = append(m.unsure, id)
	}
}

// missed returns how many chunks are in no index file, but needed by snapshots that are not kept aside.
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

// Missing records that a snapshot was missing when it was read. Prune goes on only if it was forgotten.
func (m *Marks) Missing(id pack.FileID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.missingWhenRead = append(m.missingWhenRead, id)
}

// After records that a snapshot names another as the version before it. Prune goes on only if that one is present or
// was forgotten.
func (m *Marks) After(of, before pack.FileID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kin = append(m.kin, kin{of, before})
}

// mark adds to what is known about a chunk, and returns what was known before.
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

// needs reports whether a chunk is needed. A chunk that the marks do not know may be needed.
func (m *Marks) needs(id chunk.ID) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, _ := m.values.At(id)
	return v == nil || *v&(needed|spared) != 0
}
