package diskmap

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"platter/chunk"
	"platter/pack"
)

// repetitive saves the map of a disk with few different pages, each in many places. It returns the map and the pages.
func repetitive(t *testing.T, rnd *rand.Rand, mem *memory) (m *Map, pages []chunk.ID) {
	t.Helper()
	size := (1+rnd.Int64N(3*FanOut))*RegionSize - rnd.Int64N(RegionSize)
	if rnd.IntN(8) == 0 {
		size = 1 + rnd.Int64N(RegionSize)
	}
	for range 1 + rnd.IntN(4) {
		whole := uint32(RegionSize - rnd.IntN(1000))
		ps := []Piece{{Kind: Data, Len: whole, ID: chunk.ID{byte(rnd.Uint32()), 1}}}
		if whole < RegionSize {
			ps = append(ps, Piece{Kind: PieceKind(1 + rnd.IntN(2)), Len: RegionSize - whole})
		}
		id, _ := mem.SaveMap(t.Context(), AppendPage(nil, ps))
		pages = append(pages, id)
	}
	lastLen := RegionLen(size, RegionCount(size)-1)
	last, _ := mem.SaveMap(t.Context(), AppendPage(nil, []Piece{{Kind: Data, Len: uint32(lastLen), ID: chunk.ID{9, 9}}}))
	tree := new(Builder)
	for region := range RegionCount(size) {
		switch {
		case region == RegionCount(size)-1:
			if rnd.IntN(3) > 0 {
				tree.Set(region, last)
			}
		case rnd.IntN(5) > 0:
			tree.Set(region, pages[rnd.IntN(len(pages))])
		}
	}
	root, err := tree.Finish(t.Context(), size, mem.SaveMap)
	if err != nil {
		t.Fatal(err)
	}
	return New(mem, size, root), append(pages, last)
}

// dataOf returns a fold that counts the data of the map's part, and lists its ranges.
func dataOf() *Fold[*Runs] {
	return &Fold[*Runs]{
		Page: func(_ context.Context, m *Map, region int64, pieces []Piece) (*Runs, error) {
			r := new(Runs)
			from, to := m.Within()
			for _, p := range m.PlacesOf(region, pieces) {
				if p.Kind == Data {
					off := max(p.Off, from)
					r.Add(off-region*RegionSize, min(p.End(), to)-off)
				}
			}
			return r, nil
		},
		Node: func(_ context.Context, _ Subtree, below []Below[*Runs]) (*Runs, error) {
			r := new(Runs)
			for _, b := range below {
				r.Place(b.Off, b.Value)
			}
			return r, nil
		},
	}
}

// naive visits every place of the map.
func naive(t *testing.T, m *Map) *Runs {
	t.Helper()
	r := new(Runs)
	from, to := m.Within()
	for reg, err := range m.Regions(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		places, err := m.Places(t.Context(), reg.Index, reg.Page)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range places {
			if p.Kind == Data {
				off := max(p.Off, from)
				r.Add(off, min(p.End(), to)-off)
			}
		}
	}
	return r
}

// TestFold compares folds of random maps with a walk to every place: whole maps and parts, sequentially and on all
// cores. It checks that each node and page is read once, even by a fold of several maps.
func TestFold(t *testing.T) {
	for seed := range uint64(60) {
		rnd := rand.New(rand.NewPCG(seed, 71))
		mem := newMemory()
		fold := dataOf()
		fold.AllCores = seed%2 == 0
		asked := map[Subtree]int{}
		fold.Enter = func(s Subtree) (_ *Runs, known bool) { asked[s]++; return nil, false }
		var disks []*Map
		for range 3 {
			m, _ := repetitive(t, rnd, mem)
			disks = append(disks, m)
		}
		for i, m := range slices.Concat(disks, disks) {
			clear(mem.loads)
			got, err := fold.Of(t.Context(), m)
			loads := maps.Clone(mem.loads)
			if err != nil {
				t.Fatal(err)
			}
			for id, n := range loads {
				if n > 2 { // a shorter last region may have the page of a full one on another disk
					t.Fatalf("seed %d: %v was read %d times", seed, id, n)
				}
			}
			if i >= len(disks) && len(loads) > 0 {
				t.Fatalf("seed %d: %d chunks of a map that is known were read", seed, len(loads))
			}
			if got == nil {
				got = new(Runs)
			}
			if want := naive(t, m); !slices.Equal(slices.Collect(got.All()), slices.Collect(want.All())) || got.Bytes != want.Bytes {
				t.Fatalf("seed %d: %d bytes in %d ranges, want %d in %d", seed, got.Bytes, got.Count, want.Bytes, want.Count)
			}
		}
		for s, n := range asked {
			if n > 1 {
				t.Fatalf("seed %d: %v was entered %d times", seed, s, n)
			}
		}
		fold.Enter = nil
		for range 5 {
			m := disks[rnd.IntN(len(disks))]
			off := rnd.Int64N(m.Size())
			part, err := m.Clip(Range{Off: off, Len: rnd.Int64N(m.Size() - off + 1)})
			if err != nil {
				t.Fatal(err)
			}
			got, err := fold.Of(t.Context(), part)
			if got == nil {
				got = new(Runs)
			}
			if want := naive(t, part); err != nil || got.Bytes != want.Bytes || !slices.Equal(slices.Collect(got.All()), slices.Collect(want.All())) {
				t.Fatalf("seed %d: a part has %d bytes, want %d (%v)", seed, got.Bytes, want.Bytes, err)
			}
		}
	}
}

// TestFoldEntersNothingKnown checks that a subtree for which Enter has a value is not read, and that the value counts
// in every place.
func TestFoldEntersNothingKnown(t *testing.T) {
	mem := newMemory()
	m, _ := repetitive(t, rand.New(rand.NewPCG(3, 72)), mem)
	ten := new(Runs)
	ten.Add(0, 10)
	fold, count := dataOf(), int64(0)
	for range m.Regions(t.Context()) {
		count++
	}
	clear(mem.loads)
	fold.Enter = func(s Subtree) (*Runs, bool) { return ten, s.Level == 0 }
	got, err := fold.Of(t.Context(), m)
	if err != nil || got.Bytes != 10*count || got.Count != count {
		t.Fatalf("%+v, %v; want %d ranges of 10 bytes", got, err, count)
	}
	for id := range mem.loads {
		if _, err := ParsePage(mem.chunks[id], RegionSize); err == nil {
			t.Fatalf("the page %v was read", id)
		}
	}
}

// TestFoldUnreadable checks that a fold ends at a page that cannot be read, and then keeps nothing. If Unreadable
// returns a value, the fold continues.
func TestFoldUnreadable(t *testing.T) {
	for seed := range uint64(40) {
		mem, rnd := newMemory(), rand.New(rand.NewPCG(seed, 73))
		m, pages := repetitive(t, rnd, mem)
		hit := pages[rnd.IntN(len(pages))]
		kept := mem.chunks[hit]
		delete(mem.chunks, hit)
		used := false
		for reg := range m.Regions(t.Context()) {
			used = used || reg.Page == hit
		}
		fold := dataOf()
		fold.AllCores = seed%2 == 0
		if _, err := fold.Of(t.Context(), m); errors.Is(err, fs.ErrNotExist) != used {
			t.Fatalf("seed %d: %v, and the page is used: %v", seed, err, used)
		}
		var mu sync.Mutex
		shown := 0
		lossy := dataOf()
		lossy.AllCores = fold.AllCores
		lossy.Unreadable = func(_ context.Context, s Subtree, reason error) (*Runs, error) {
			mu.Lock()
			defer mu.Unlock()
			if shown++; s.ID != hit || !errors.Is(reason, fs.ErrNotExist) {
				t.Errorf("%v: %v", s, reason)
			}
			return new(Runs), nil
		}
		if _, err := lossy.Of(t.Context(), m); err != nil || (shown == 1) != used {
			t.Fatalf("seed %d: %v, shown %d times, and the page is used: %v", seed, err, shown, used)
		}
		mem.chunks[hit] = kept
		got, err := fold.Of(t.Context(), m) // after an error
		if got == nil {
			got = new(Runs)
		}
		if want := naive(t, m); err != nil || got.Bytes != want.Bytes {
			t.Fatalf("seed %d: %d bytes, want %d (%v)", seed, got.Bytes, want.Bytes, err)
		}
	}
}

// TestFoldHostile checks that a map of 2^36 equal regions is folded as fast as its six chunks are read. Regions beyond
// the end of a disk are an error, unless they get a value. A cancelled fold ends.
func TestFoldHostile(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	const size = 1 << 62
	mem := newMemory()
	id, _ := mem.SaveMap(ctx, AppendPage(nil, []Piece{{Kind: Data, Len: RegionSize - 1, ID: chunk.ID{1}}, {Kind: Zeros, Len: 1}}))
	for level := 1; level <= Height(size); level++ {
		var n Node
		for i := 0; i < FanOut && ChildOffset(level, i) < size && ChildOffset(level, i) >= 0; i++ {
			n[i] = id
		}
		id, _ = mem.SaveMap(ctx, n.AppendTo(nil, level))
	}
	for _, allCores := range []bool{false, true} {
		fold := dataOf()
		fold.AllCores = allCores
		clear(mem.loads)
		got, err := fold.Of(ctx, New(mem, size, id))
		if err != nil || got.Count != size/RegionSize || got.Bytes != size-size/RegionSize {
			t.Fatalf("%v: %d ranges", err, got.Count)
		}
		if len(mem.loads) != Height(size)+1 {
			t.Fatalf("%d chunks were read", len(mem.loads))
		}
		for id, n := range mem.loads {
			if n != 1 {
				t.Fatalf("%v was read %d times", id, n)
			}
		}
	}
	short := New(mem, size-RegionSize, id)
	fold := dataOf()
	if _, err := fold.Of(ctx, short); !errors.Is(err, ErrBeyond) || !errors.Is(err, pack.ErrDamaged) {
		t.Fatalf("%v, want ErrBeyond", err)
	}
	fold.Beyond = func() (*Runs, error) { return new(Runs), nil }
	if got, err := fold.Of(ctx, short); err != nil || got.Count != size/RegionSize-1 {
		t.Fatalf("%v, %+v", err, got)
	}
	cancel()
	if _, err := dataOf().Of(ctx, short); !errors.Is(err, context.Canceled) {
		t.Fatalf("%v, want that it was cancelled", err)
	}
}

// TestBelow checks that the shape below a node is that of a map of its width.
func TestBelow(t *testing.T) {
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 74))
		m := New(nil, randomSize(rnd), chunk.ID{})
		top := Height(m.Size())
		if top == 0 {
			continue
		}
		for i, child := range m.Subtree(top, 0, chunk.ID{}).Below() {
			if want := m.Subtree(top-1, int64(i), chunk.ID{}); child != want || !m.Has(top-1, int64(i)) {
				t.Fatalf("seed %d: child %d is %+v, want %+v", seed, i, child, want)
			}
			if n := len(m.Subtree(top, 0, chunk.ID{}).Below()); n < FanOut && m.Has(top-1, int64(n)) {
				t.Fatalf("seed %d: child %d is left out", seed, n)
			}
		}
	}
}
