package backup

import "platter/snapshot/image"

// A badRun is a run of a slot that could not be read, or not at the first try.
type badRun struct {
	image.Extent      // counted from the slot's first byte
	again        bool // still to be read around
}

// badRuns are the unreadable runs of a region from the cut position on, in order. They count from the region's first
// byte.
type badRuns []image.Extent

// add appends the unreadable runs of a slot.
func (b *badRuns) add(s *slot) {
	for _, run := range s.bad {
		*b = append(*b, image.Extent{Off: s.off + run.Off, Len: run.Len})
	}
}

// take returns how many bytes from at on are readable, and how many after them are unreadable, both up to end. The
// caller continues after both.
func (b *badRuns) take(at, end int64) (well, bad int64) {
	if len(*b) == 0 || (*b)[0].Off >= end {
		return end - at, 0
	}
	first := &(*b)[0]
	well = first.Off - at
	bad = min(first.Len, end-first.Off)
	first.Off, first.Len = first.Off+bad, first.Len-bad
	if first.Len == 0 {
		*b = (*b)[1:]
	}
	return well, bad
}
