package index

// prefer swaps entries, so that chunks in suspended packs are found in their other packs. Otherwise each backup would
// store such a chunk once more, and restores would read it from the damaged pack. mu is held.
func (x *Index) prefer() {
	for i := range x.shards {
		s := &x.shards[i]
		s.mu.Lock()
		for j := 0; j < len(s.doubles); j++ {
			d := s.doubles[j]
			if !x.lives(d.frame) {
				continue
			}
			at := s.find(d.id)
			if _, live, _ := x.stored(d.id); live || at >= 0 && (s.entries[at].frame == claimed || x.lives(s.entries[at].frame)) {
				continue
			}
			if at >= 0 {
				s.entries[at], s.doubles[j] = d, s.entries[at]
				continue
			}
			s.insert(d)
			last := len(s.doubles) - 1
			s.doubles[j] = s.doubles[last]
			s.doubles, j = s.doubles[:last], j-1
		}
		s.mu.Unlock()
	}
}
