package diskmap

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestRuns combines ranges of subtrees that occur in several places, and compares the result with a plain list.
func TestRuns(t *testing.T) {
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 51))
		const width = 8
		plain := func(n int) (lost []bool) {
			for range n {
				lost = append(lost, rnd.IntN(3) > 0)
			}
			return lost
		}
		below, sets := []*Runs{}, [][]bool{}
		for range 3 {
			set, r := plain(width), new(Runs)
			for i := range set {
				if set[i] {
					r.Add(int64(i), 1)
				}
			}
			below, sets = append(below, r), append(sets, set)
		}
		for range 2 { // levels
			var above []*Runs
			var wide [][]bool
			for range 3 {
				r, set := new(Runs), []bool{}
				for range rnd.IntN(6) {
					switch at := int64(len(set)); rnd.IntN(4) {
					case 0:
						r.Add(at, width)
						set = append(set, slices.Repeat([]bool{true}, width)...)
					default:
						n := rnd.IntN(len(below))
						r.Place(at, below[n])
						set = append(set, sets[n]...)
					}
				}
				above, wide = append(above, r), append(wide, set)
			}
			below, sets = above, wide
		}
		for i, r := range below {
			var want []Range
			bytes := int64(0)
			for off, lost := range sets[i] {
				if !lost {
					continue
				}
				bytes++
				if off > 0 && sets[i][off-1] {
					want[len(want)-1].Len++
				} else {
					want = append(want, Range{int64(off), 1})
				}
			}
			if got := slices.Collect(r.All()); fmt.Sprint(got) != fmt.Sprint(want) || r.Count != int64(len(want)) || r.Bytes != bytes {
				t.Fatalf("seed %d: %v, %d ranges of %d bytes; want %v", seed, got, r.Count, r.Bytes, want)
			}
			n := rnd.IntN(4)
			first, more, left := r.First(n)
			for _, q := range first {
				left += q.Len
			}
			if len(first) != min(n, len(want)) || !slices.Equal(first, want[:len(first)]) || more != int64(len(want)-len(first)) || left != bytes {
				t.Fatalf("seed %d: the first %d are %v, %d more, and all %d bytes; want %v", seed, n, first, more, left, want)
			}
		}
	}
}
