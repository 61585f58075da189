package nbd

import (
	"math/rand/v2"
	"testing"

	"platter/snapshot/image"
)

// TestInward cuts random extents down to units. What comes out has no gaps, calls nothing zero that was data, keeps
// holes that are whole units, and has borders between units only where that cannot be avoided.
func TestInward(t *testing.T) {
	rng := rand.New(rand.NewPCG(6, 6))
	for range 2000 {
		off, n := rng.Int64N(3000), rng.Int64N(6000)+1
		const unit = 512
		zero := make([]bool, n) // by byte
		runs := func(yield func(image.Extent, error) bool) {
			for at := int64(0); at < n; {
				e := image.Extent{Off: off + at, Len: min(rng.Int64N(1500)+1, n-at), Zero: rng.IntN(2) == 0}
				for i := range e.Len {
					zero[at+i] = e.Zero
				}
				at += e.Len
				if !yield(e, nil) {
					return
				}
			}
		}
		at := off
		said := make([]bool, n)
		for e := range inward(runs, off, n, unit) {
			if e.Off != at || e.Len <= 0 || e.Off != off && e.Off%unit != 0 {
				t.Fatalf("%+v after %d, of %d at %d", e, at, n, off)
			}
			for i := range e.Len {
				said[at-off+i] = e.Zero
			}
			at += e.Len
		}
		if at != off+n {
			t.Fatalf("the extents of %d at %d end at %d", n, off, at)
		}
		whole := 0 // zeros in a row from a border of units on
		for i := range n {
			switch {
			case said[i] && !zero[i]:
				t.Fatalf("byte %d is data", i)
			case !zero[i]:
				whole = 0
			case whole > 0 || (off+i)%unit == 0:
				whole++
			}
			if whole > 0 && whole%unit == 0 && !said[i] {
				t.Fatalf("the unit of zeros that ends at byte %d is not kept", i)
			}
		}
	}
}
