package nbd

import "slices"

// maxRuns bounds what a server can make a read remember. No server sends chunks out of order, so one run is the rule.
const maxRuns = 1024

// runs are what has arrived of a read.
type runs struct {
	total int64 // bytes
	list  []run // in order, none touches another
}

type run struct{ from, to int64 }

// add adds a run. It reports false if a part of it is there already, or there are too many.
func (r *runs) add(from, to int64) bool {
	i, _ := slices.BinarySearchFunc(r.list, from, func(have run, from int64) int {
		if have.to < from {
			return -1
		}
		return 1
	})
	// The runs before i end before from, without touching it.
	joins := i < len(r.list) && r.list[i].to == from
	next := i
	if joins {
		next++
	}
	if next < len(r.list) && r.list[next].from < to {
		return false
	}
	meets := next < len(r.list) && r.list[next].from == to
	switch {
	case joins && meets:
		r.list[i].to = r.list[next].to
		r.list = slices.Delete(r.list, next, next+1)
	case joins:
		r.list[i].to = to
	case meets:
		r.list[next].from = from
	case len(r.list) == maxRuns:
		return false
	default:
		r.list = slices.Insert(r.list, i, run{from, to})
	}
	r.total += to - from
	return true
}
