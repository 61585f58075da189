package diskmap

import "iter"

// A Range is a run of a disk, in bytes.
type Range struct {
	Off int64 `json:"offset"`
	Len int64 `json:"length"`
}

// Runs are ranges of a disk that have something in common. They are in order, none is empty, and no two touch.
//
// If a map has a subtree in many places, the ranges of the subtree are kept once, counted from its start. So the ranges
// of a disk of 2^36 regions take no more memory than its map. The caller must limit how many it lists.
type Runs struct {
	Count int64 // of ranges
	Bytes int64 // of all of them

	from, to int64 // start of the first, end of the last
	parts    []runsPart
}

// A runsPart is a range, or the ranges of a subtree that starts at Off.
type runsPart struct {
	Range
	below *Runs // nil for a range
}

// Add appends a range.
func (r *Runs) Add(off, n int64) {
	if n <= 0 {
		return
	}
	if last := len(r.parts) - 1; last >= 0 && r.parts[last].below == nil && r.to == off {
		r.parts[last].Len += n
		r.to, r.Bytes = off+n, r.Bytes+n
		return
	}
	r.append(runsPart{Range{off, n}, nil}, &Runs{Count: 1, Bytes: n, to: n})
}

// Place appends the ranges of a subtree that starts at off. They must not change afterwards.
func (r *Runs) Place(off int64, below *Runs) {
	switch below.Count {
	case 0:
	case 1: // it may join its neighbours, many times over
		r.Add(off+below.from, below.Bytes)
	default:
		r.append(runsPart{Range{Off: off}, below}, below)
	}
}

func (r *Runs) append(part runsPart, sum *Runs) {
	from, to := part.Off+sum.from, part.Off+sum.to
	switch {
	case r.Count == 0:
		r.from = from
	case r.to == from: // the last range joins the first of these
		r.Count--
	}
	r.to, r.Count, r.Bytes = to, r.Count+sum.Count, r.Bytes+sum.Bytes
	r.parts = append(r.parts, part)
}

// All yields the ranges.
func (r *Runs) All() iter.Seq[Range] {
	return func(yield func(Range) bool) {
		var last Range
		goOn := r.each(0, func(q Range) bool {
			if last.Len > 0 && last.Off+last.Len == q.Off {
				last.Len += q.Len
				return true
			}
			done := last
			last = q
			return done.Len == 0 || yield(done)
		})
		if goOn && last.Len > 0 {
			yield(last)
		}
	}
}

// each yields the ranges, some of which may touch, and reports whether to go on.
func (r *Runs) each(off int64, yield func(Range) bool) bool {
	for _, p := range r.parts {
		if p.below != nil {
			if !p.below.each(off+p.Off, yield) {
				return false
			}
		} else if !yield(Range{off + p.Off, p.Len}) {
			return false
		}
	}
	return true
}

// First returns at most n of the ranges, and the number and bytes of the others.
func (r *Runs) First(n int) (first []Range, more int64, bytes int64) {
	first, more, bytes = []Range{}, r.Count, r.Bytes
	for q := range r.All() {
		if len(first) == n {
			break
		}
		first, more, bytes = append(first, q), more-1, bytes-q.Len
	}
	return first, more, bytes
}

// end is the offset of the first byte after the range.
func (r Range) end() int64 { return r.Off + r.Len }
