package nbd

import (
	"math/rand/v2"
	"testing"
)

// TestRuns adds runs in any order, against a set of bytes.
func TestRuns(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 9))
	for range 200 {
		var r runs
		var have [64]bool
		total := int64(0)
		for range 60 {
			from := rng.Int64N(64)
			to := from + 1 + rng.Int64N(min(6, 64-from))
			free := true
			for _, h := range have[from:to] {
				free = free && !h
			}
			if added := r.add(from, to); added != free {
				t.Fatalf("%d to %d: added: %t; have %v", from, to, added, r.list)
			}
			for i := from; free && i < to; i++ {
				have[i] = true
				total++
			}
		}
		if r.total != total {
			t.Fatalf("%d bytes, want %d", r.total, total)
		}
		for i := 1; i < len(r.list); i++ {
			if r.list[i-1].to >= r.list[i].from {
				t.Fatalf("runs %v", r.list)
			}
		}
	}
	var r runs
	for i := range int64(maxRuns) {
		if !r.add(2*i, 2*i+1) {
			t.Fatalf("run %d is one too many", i)
		}
	}
	if r.add(2*maxRuns, 2*maxRuns+1) || !r.add(1, 2) {
		t.Error("the bound does not hold, or holds for what joins two runs")
	}
}
