package index

import "platter/chunk"

// Values holds a number for every chunk of an index that no longer grows, at four bytes a chunk. It is not safe for
// concurrent use.
type Values struct {
	index  *Index
	run    *run     // the run that base refers to
	base   []uint32 // by record
	recent [shardCount][]uint32
}

// Values returns a number for each chunk, all zero.
func (x *Index) Values() *Values {
	x.mu.RLock()
	defer x.mu.RUnlock()
	v := &Values{index: x, run: x.base}
	if x.base != nil {
		v.base = make([]uint32, x.base.recordCount)
	}
	for i := range x.shards {
		v.recent[i] = make([]uint32, len(x.shards[i].entries))
	}
	return v
}

// At returns the chunk's number and its length in bytes, or nil for a chunk that was unknown when Values was called.
func (v *Values) At(id chunk.ID) (*uint32, uint32) {
	x := v.index
	x.mu.RLock()
	defer x.mu.RUnlock()
	s := x.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if at, values := s.find(id), v.recent[id[0]]; at >= 0 && at < len(values) {
		return &values[at], s.entries[at].len
	}
	e, _, ok := x.stored(id)
	if !ok {
		return nil, 0
	}
	at, _ := x.base.find(id)
	if x.base != v.run { // the index grew after all
		return nil, 0
	}
	return &v.base[at], e.len
}
