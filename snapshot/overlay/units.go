package overlay

import (
	"cmp"
	"fmt"
	"slices"
)

// Units are the unused units of the file: those in free, and all from end on.
type units struct {
	free runs // a run's at and unit are the same
	end  int64
}

// take returns at most n units in a row, n > 0.
func (u *units) take(n int64) (at, got int64) {
	if len(u.free.leaves) > 0 {
		r := u.free.leaves[0][0]
		got = min(n, r.n)
		u.free.remove(r.at, r.at+got)
		return r.at, got
	}
	return u.takeEnd(n), n
}

// takeEnd returns n units in a row at the end of the file.
func (u *units) takeEnd(n int64) (at int64) {
	at = u.end
	u.end += n
	return at
}

// give makes units unused again.
func (u *units) give(at, n int64) { u.free.set(run{at, n, at}) }

// unitsOf returns the unused units of a file that ends before unit end, from its map and its header. The error wraps
// ErrDamaged if two of them share a unit.
func unitsOf(blocks *runs, h *header, end int64) (units, error) {
	used := []run{{0, headers, 0}, {h.at, h.len, h.at}, {h.spare, h.len, h.spare}}
	for r := range blocks.all() {
		if r.unit != 0 {
			used = append(used, run{r.unit, r.n, r.unit})
		}
	}
	slices.SortFunc(used, func(a, b run) int { return cmp.Compare(a.at, b.at) })
	u := units{end: end}
	next := int64(0)
	for _, r := range used {
		if r.at < next {
			return units{}, fmt.Errorf("%w: unit %d is used twice", ErrDamaged, r.at)
		}
		if r.at > next {
			u.give(next, r.at-next)
		}
		next = r.end()
	}
	if next < end {
		u.give(next, end-next)
	}
	return u, nil
}
