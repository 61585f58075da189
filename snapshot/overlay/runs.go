package overlay

import (
	"iter"
	"slices"
	"sort"
)

// A run is n blocks from block at on. Their bytes are in the units from unit on. If unit is 0, which holds a header, the
// blocks are zeros.
type run struct{ at, n, unit int64 }

func (r run) end() int64 { return r.at + r.n }

// clip returns the part of a run between two blocks. Its n is not positive if there is none.
func (r run) clip(from, to int64) run {
	c := run{max(r.at, from), min(r.end(), to) - max(r.at, from), r.unit}
	if r.unit != 0 {
		c.unit += c.at - r.at
	}
	return c
}

// continues reports whether next directly follows r, on the disk and in the file.
func (r run) continues(next run) bool {
	return r.end() == next.at && (r.unit == 0) == (next.unit == 0) && (r.unit == 0 || r.unit+r.n == next.unit)
}

// leafLen is the number of runs at which a leaf is split.
const leafLen = 512

// Runs is a set of runs in order, none of which overlap. Neighbours that continue each other are one run, so memory is
// bounded by what was written, and zeros of any length take one run. The zero value is empty.
type runs struct {
	leaves [][]run // none is empty
}

// A place is a position in runs: a leaf, and a run of it. At the end, leaf is len(leaves).
type place struct{ leaf, run int }

// firstWith returns the place of the first run for which pred is true. pred must be false for the runs before it, and
// true for those after it.
func (s *runs) firstWith(pred func(run) bool) place {
	leaf := sort.Search(len(s.leaves), func(i int) bool { return pred(s.leaves[i][len(s.leaves[i])-1]) })
	if leaf == len(s.leaves) {
		return place{leaf, 0}
	}
	return place{leaf, sort.Search(len(s.leaves[leaf]), func(i int) bool { return pred(s.leaves[leaf][i]) })}
}

// after returns the first run that ends after a block: the run that has the block, or the next one.
func (s *runs) after(block int64) (r run, ok bool) {
	p := s.firstWith(func(r run) bool { return r.end() > block })
	if p.leaf == len(s.leaves) {
		return run{}, false
	}
	return s.leaves[p.leaf][p.run], true
}

// within yields the parts of runs between two blocks, in order. The runs must not change meanwhile.
func (s *runs) within(from, to int64) iter.Seq[run] {
	return func(yield func(run) bool) {
		p := s.firstWith(func(r run) bool { return r.end() > from })
		for ; p.leaf < len(s.leaves); p = (place{p.leaf + 1, 0}) {
			for _, r := range s.leaves[p.leaf][p.run:] {
				if r.at >= to || !yield(r.clip(from, to)) {
					return
				}
			}
		}
	}
}

// all yields every run in order.
func (s *runs) all() iter.Seq[run] {
	return func(yield func(run) bool) {
		for _, leaf := range s.leaves {
			for _, r := range leaf {
				if !yield(r) {
					return
				}
			}
		}
	}
}

// count returns the number of runs.
func (s *runs) count() (n int) {
	for _, leaf := range s.leaves {
		n += len(leaf)
	}
	return n
}

// clone returns a copy that later changes of s do not reach.
func (s *runs) clone() runs {
	c := runs{make([][]run, len(s.leaves))}
	for i, leaf := range s.leaves {
		c.leaves[i] = slices.Clone(leaf)
	}
	return c
}

// set puts a run in place of whatever covers its blocks.
func (s *runs) set(r run) { s.replace(r.at, r.end(), r) }

// remove takes the blocks from one to before another out of all runs.
func (s *runs) remove(from, to int64) { s.replace(from, to, run{}) }

// replace puts r in place of the blocks between two blocks. An r without blocks leaves nothing there.
func (s *runs) replace(from, to int64, r run) {
	// Runs that only touch the range are replaced too, since r may continue them.
	first := s.firstWith(func(r run) bool { return r.end() >= from })
	last := s.firstWith(func(r run) bool { return r.at > to })
	var fresh []run
	add := func(r run) {
		switch k := len(fresh) - 1; {
		case r.n <= 0:
		case k >= 0 && fresh[k].continues(r):
			fresh[k].n += r.n
		default:
			fresh = append(fresh, r)
		}
	}
	if first != last {
		add(s.leaves[first.leaf][first.run].clip(0, from))
	}
	add(r)
	if first != last {
		end := s.before(last)
		add(end.clip(to, end.end()))
	}
	s.splice(first, last, fresh)
}

// before returns the run before a place, which is not the first one.
func (s *runs) before(p place) run {
	if p.run > 0 {
		return s.leaves[p.leaf][p.run-1]
	}
	leaf := s.leaves[p.leaf-1]
	return leaf[len(leaf)-1]
}

// splice puts fresh in place of the runs from first to before last.
func (s *runs) splice(first, last place, fresh []run) {
	switch {
	case first.leaf == len(s.leaves) && first.leaf > 0:
		// At the end: append to the last leaf rather than make small ones.
		first = place{first.leaf - 1, len(s.leaves[first.leaf-1])}
		fallthrough
	case first.leaf < last.leaf:
		head := append(s.leaves[first.leaf][:first.run], fresh...)
		rest := s.leaves[last.leaf:]
		if len(rest) > 0 {
			rest[0] = rest[0][last.run:]
		}
		s.leaves[first.leaf] = head
		s.leaves = slices.Delete(s.leaves, first.leaf+1, last.leaf)
	case first.leaf == len(s.leaves):
		s.leaves = append(s.leaves, fresh)
	default:
		s.leaves[first.leaf] = slices.Replace(s.leaves[first.leaf], first.run, last.run, fresh...)
	}
	s.tidy(first.leaf)
}

// tidy drops a leaf that is empty, and splits one that is too long.
func (s *runs) tidy(leaf int) {
	switch l := s.leaves[leaf]; {
	case len(l) == 0:
		s.leaves = slices.Delete(s.leaves, leaf, leaf+1)
	case len(l) > leafLen:
		half := slices.Clone(l[len(l)/2:])
		s.leaves[leaf] = slices.Clip(l[:len(l)/2])
		s.leaves = slices.Insert(s.leaves, leaf+1, half)
	}
}
