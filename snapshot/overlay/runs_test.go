package overlay

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestRuns compares runs with an array that has a unit for each block.
func TestRuns(t *testing.T) {
	const blocks, none = 5000, -1
	for seed := range uint64(4) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var s runs
		want := slices.Repeat([]int64{none}, blocks)
		longest := 2 + int64(seed*seed*40)
		for step := range 6000 {
			r := run{at: rng.Int64N(blocks), n: 1 + rng.Int64N(longest)}
			r.n = min(r.n, blocks-r.at)
			switch rng.IntN(5) {
			case 0:
				s.remove(r.at, r.end())
				r.unit = none
			case 1: // zeros
				s.set(r)
			case 2: // may continue the neighbours
				r.unit = 10 + r.at
				s.set(r)
			default:
				r.unit = 2 + rng.Int64N(1<<40)
				s.set(r)
			}
			for b := r.at; b < r.end(); b++ {
				want[b] = r.unit
				if r.unit > 0 {
					want[b] += b - r.at
				}
			}
			if step%97 == 0 {
				compareRuns(t, &s, want)
				from := rng.Int64N(blocks)
				to := from + rng.Int64N(blocks-from)
				compareWithin(t, &s, from, to, want)
			}
			if t.Failed() {
				t.Fatalf("seed %d, step %d", seed, step)
			}
		}
		s.remove(0, blocks)
		if len(s.leaves) != 0 {
			t.Errorf("%d leaves of nothing", len(s.leaves))
		}
	}
}

func compareRuns(t *testing.T, s *runs, want []int64) {
	t.Helper()
	for _, leaf := range s.leaves {
		if len(leaf) == 0 || len(leaf) > leafLen {
			t.Errorf("a leaf has %d runs", len(leaf))
		}
	}
	last := run{n: -1}
	for r := range s.all() {
		if r.n <= 0 || r.at < last.end() || last.n > 0 && last.continues(r) {
			t.Errorf("%+v comes after %+v", r, last)
		}
		last = r
	}
	compareWithin(t, s, 0, int64(len(want)), want)
}

func compareWithin(t *testing.T, s *runs, from, to int64, want []int64) {
	t.Helper()
	next := from
	expectNone := func(end int64) {
		for ; next < end; next++ {
			if want[next] != -1 {
				t.Errorf("block %d is in no run", next)
				return
			}
		}
	}
	for r := range s.within(from, to) {
		expectNone(r.at)
		for b := r.at; b < r.end(); b++ {
			unit := r.unit
			if unit > 0 {
				unit += b - r.at
			}
			if unit != want[b] {
				t.Errorf("block %d is in unit %d, want %d", b, unit, want[b])
			}
		}
		next = r.end()
	}
	expectNone(to)
}

func BenchmarkRunsScattered(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	var s runs
	for unit := range int64(1 << 18) { // 1 GiB of scattered blocks of 1 TiB
		s.set(run{rng.Int64N(1 << 28), 1, 2 + 2*unit})
	}
	b.ReportAllocs()
	for b.Loop() {
		s.set(run{rng.Int64N(1 << 28), 1, 1 << 30})
	}
	b.ReportMetric(float64(s.count()), "runs")
}
