package diskmap

import (
	"context"
	"encoding/binary"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"platter/chunk"
)

func TestHeight(t *testing.T) {
	const page, node1, node2 = int64(RegionSize), int64(RegionSize) * FanOut, int64(RegionSize) * FanOut * FanOut
	for _, test := range []struct {
		size    int64
		regions int64
		height  int
	}{
		{1, 1, 0},
		{page - 1, 1, 0},
		{page, 1, 0},
		{page + 1, 2, 1},
		{2 * page, 2, 1},
		{node1 - 1, FanOut, 1},
		{node1, FanOut, 1},
		{node1 + 1, FanOut + 1, 2},
		{node2, FanOut * FanOut, 2},
		{node2 + 1, FanOut*FanOut + 1, 3},
		{1 << 58, 1 << 32, 4},
		{1<<58 + 1, 1<<32 + 1, 5},
		{math.MaxInt64 - page, 1<<37 - 1, 5},
		{math.MaxInt64, 1 << 37, 5},
	} {
		if got := RegionCount(test.size); got != test.regions {
			t.Errorf("%d bytes: %d regions, want %d", test.size, got, test.regions)
		}
		if got := Height(test.size); got != test.height {
			t.Errorf("%d bytes: height %d, want %d", test.size, got, test.height)
		}
		last := test.regions - 1
		if n := RegionLen(test.size, last); n != test.size-last*page || n < 1 || n > page {
			t.Errorf("%d bytes: the last region has %d", test.size, n)
		}
	}
	if Height(0) != 0 {
		t.Errorf("a disk of nothing has height %d", Height(0))
	}
}

// randomSize returns a size of any magnitude, near sizes at which maps grow.
func randomSize(r *rand.Rand) int64 {
	size := int64(1) << r.IntN(63) // up to 1<<62
	switch r.IntN(4) {
	case 0:
		size -= 1 + r.Int64N(1<<20)
	case 1:
		size -= r.Int64N(size)
	}
	return max(size, 1)
}

// TestSpans checks that the spans of a node's children tile the span of the node.
func TestSpans(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 4))
		m := New(nil, randomSize(r), chunk.ID{})
		level, at := Height(m.size), int64(0)
		if from, to := m.Span(level, 0); from != 0 || to != m.size {
			t.Fatalf("a disk of %d bytes spans %d to %d", m.size, from, to)
		}
		for ; level > 0; level-- {
			from, to := m.Span(level, at)
			next, child := from, at*FanOut
			var below []int64
			for ; next < to && len(below) < FanOut; child++ {
				a, b := m.Span(level-1, child)
				if a != next || b <= a || b > to {
					t.Fatalf("%d bytes: child %d of level %d spans %d to %d, want it to begin at %d and end by %d", m.size, child, level, a, b, next, to)
				}
				next = b
				below = append(below, child)
			}
			if next != to {
				t.Fatalf("%d bytes: the children of %d on level %d span up to %d of %d", m.size, at, level, next, to)
			}
			at = below[r.IntN(len(below))]
		}
		if from, to := m.Span(0, at); from != at*RegionSize || to-from != RegionLen(m.size, at) {
			t.Fatalf("%d bytes: region %d spans %d to %d", m.size, at, from, to)
		}
	}
}

// randomRegions returns pages for some regions of a disk: in clusters, and at both ends.
func randomRegions(r *rand.Rand, size int64) map[int64]chunk.ID {
	n := RegionCount(size)
	pages := map[int64]chunk.ID{}
	add := func(region int64) {
		if region >= 0 && region < n {
			id := chunk.ID{31: 1}
			binary.LittleEndian.PutUint64(id[:], r.Uint64())
			pages[region] = id
		}
	}
	for range r.IntN(4) {
		at := r.Int64N(n)
		for range r.IntN(20) {
			add(at + r.Int64N(2*FanOut))
		}
	}
	for _, region := range []int64{0, 1, FanOut - 1, FanOut, n - 2, n - 1} {
		if r.IntN(4) == 0 {
			add(region)
		}
	}
	return pages
}

// TestTreeRoundTrip builds maps of random regions of disks up to 4 EiB and walks them again. The root must depend
// neither on the order nor on regions of zeros.
func TestTreeRoundTrip(t *testing.T) {
	type built struct {
		size  int64
		pages map[int64]chunk.ID
		root  chunk.ID
	}
	count := uint64(150)
	if testing.Short() {
		count = 30
	}
	var all []built
	ctx := context.Background()
	r := newMemory()
	for seed := range count {
		rnd := rand.New(rand.NewPCG(seed, 5))
		b := built{size: randomSize(rnd)}
		b.pages = randomRegions(rnd, b.size)
		var err error
		for pass := range 2 {
			tree := new(Builder)
			order := slices.Sorted(maps.Keys(b.pages))
			rnd.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
			for _, region := range order {
				tree.Set(region, b.pages[region])
				tree.Set((region+1)%RegionCount(b.size), b.pages[(region+1)%RegionCount(b.size)]) // often the zero ID
			}
			before := b.root
			if b.root, err = tree.Finish(ctx, b.size, r.SaveMap); err != nil {
				t.Fatal(err)
			}
			if pass > 0 && b.root != before {
				t.Fatalf("seed %d: another root in another order", seed)
			}
		}
		all = append(all, b)
	}
	for seed, b := range all {
		if b.root.IsZero() != (len(b.pages) == 0) {
			t.Errorf("seed %d: %d pages under root %v", seed, len(b.pages), b.root)
		}
		got, last := map[int64]chunk.ID{}, int64(-1)
		m := New(r, b.size, b.root)
		for region, err := range m.Regions(ctx) {
			if err != nil {
				t.Fatal(err)
			}
			if region.Index <= last {
				t.Fatalf("seed %d: region %d comes after %d", seed, region.Index, last)
			}
			last, got[region.Index] = region.Index, region.Page
		}
		if !maps.Equal(got, b.pages) {
			t.Fatalf("seed %d: a disk of %d bytes has regions %v, want %v", seed, b.size, got, b.pages)
		}
	}
}
