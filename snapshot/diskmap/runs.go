package diskmap

import "iter"

// A Range is a run of a disk, in bytes.
type Range struct {
	Off int64 `json:"offset"`
	Len int64 `json:"length"`
}

// Runs are the ranges of a disk of which something is so: in order, none empty, no two that touch. A map may have one
// subtree in as many places as it likes; its ranges are kept once, and counted from where it begins. So the ranges of a
// disk of 2^36 regions take as much memory as its map does, and it is for those who list them to stop.
type Runs struct {
	Count int64 // of ranges
	Bytes int64 // of all of them

	from, to int64 // where the first begins and the last ends
	parts    []runsPart
}

// A runsPart is a range, or the ranges of a subtree that begins at Off.
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

// Place appends the ranges of a subtree that begins at off. They must not change any more.
func (r *Runs) Place(off int64, below *Runs) {
	switch below.Count {
	case 0:
	case 1: // it may be one with its neighbours, many times over
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
	case r.to == from: // the last is one with the first of these
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

// each yields ranges of which some may touch, and reports whether to go on.
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

// First returns no more than n of the ranges, and how many and how much the others are.
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

// end is the byte behind the range.
func (r Range) end() int64 { return r.Off + r.Len }
