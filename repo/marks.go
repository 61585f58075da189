package repo

import (
	"sync"

	"platter/chunk"
	"platter/index"
)

// Marks are the chunks that somebody needs, four bytes a chunk of the index. They are safe for concurrent use.
type Marks struct {
	mu      sync.Mutex
	values  *index.Values
	missing map[chunk.ID]bool // needed, and in no index file
}

const needed = 1

func newMarks(x *index.Index) *Marks {
	return &Marks{values: x.Values(), missing: map[chunk.ID]bool{}}
}

// Mark notes that a chunk is needed, and reports whether nobody had said so before.
func (m *Marks) Mark(id chunk.ID) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, _ := m.values.At(id)
	if v == nil {
		before := m.missing[id]
		m.missing[id] = true
		return !before
	}
	before := *v
	*v = needed
	return before != needed
}

// needs reports whether a chunk is needed. What the marks know nothing of may be.
func (m *Marks) needs(id chunk.ID) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, _ := m.values.At(id)
	return v == nil || *v == needed
}
