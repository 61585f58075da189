package index

import (
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"platter/chunk"
	"platter/pack"
)

// TestIndexModel runs random calls against a Go map.
func TestIndexModel(t *testing.T) {
	steps := 3000
	if testing.Short() {
		steps = 500
	}
	for seed := range uint64(8) {
		r := rand.New(rand.NewPCG(seed, 1))
		x := new(Index)
		known, claimed := map[chunk.ID]Location{}, map[chunk.ID]bool{}
		spread := 10 << seed // many repeats at first, then few
		var packs []Pack
		var tables []*pack.Table
		for step := range steps {
			switch r.IntN(8) {
			case 0:
				ids := make([]chunk.ID, r.IntN(12))
				for i := range ids {
					ids[i] = closeID(r, spread)
				}
				p, table := packOf(r, ids)
				if len(packs) > 0 && r.IntN(4) == 0 { // a known pack, with other content
					p = packs[r.IntN(len(packs))]
					x.AddPack(p, table)
					break
				}
				x.AddPack(p, table)
				packs, tables = append(packs, p), append(tables, table)
				ids, at := locations(p, table)
				for i, id := range ids {
					if _, ok := known[id]; !ok {
						known[id] = at[i]
					}
				}
			case 1, 2:
				id := closeID(r, spread)
				_, there := known[id]
				if got, want := x.Claim(id), !there && !claimed[id]; got != want {
					t.Fatalf("seed %d, step %d: claim of %v: %v, want %v", seed, step, id, got, want)
				}
				claimed[id] = true
			default:
				id := closeID(r, spread)
				want, there := known[id]
				if got, ok := x.Lookup(id); ok != there || got != want {
					t.Fatalf("seed %d, step %d: %v is at %+v (%v), want %+v (%v)", seed, step, id, got, ok, want, there)
				}
			}
		}
		total := len(known)
		for id := range claimed {
			if _, ok := known[id]; !ok {
				total++
			}
		}
		if count(x) != total {
			t.Errorf("seed %d: %d chunks, want %d", seed, count(x), total)
		}
		if !slices.Equal(x.Packs(), packs) {
			t.Errorf("seed %d: packs differ, or their order does", seed)
		}
		for i, p := range packs {
			if !x.HasPack(p.ID) {
				t.Errorf("seed %d: pack %d is unknown", seed, i)
			}
			ids, _ := locations(p, tables[i])
			for _, id := range ids {
				if got, ok := x.Lookup(id); !ok || got != known[id] {
					t.Fatalf("seed %d: %v is at %+v (%v), want %+v", seed, id, got, ok, known[id])
				}
			}
		}
		if x.HasPack(pack.FileID{1, 2, 3}) {
			t.Errorf("seed %d: an unknown pack is known", seed)
		}
	}
}

func TestEmptyIndex(t *testing.T) {
	x := new(Index)
	if _, ok := x.Lookup(chunk.ID{}); ok || count(x) != 0 || len(x.Packs()) != 0 || x.HasPack(pack.FileID{}) {
		t.Error("an empty index knows something")
	}
	if value, _ := x.Values().At(chunk.ID{}); value != nil {
		t.Error("an empty index has a value for a chunk")
	}
}

// TestClaimsOnce has workers claim the same IDs, each in its own order, while packs with some of the IDs are added.
func TestClaimsOnce(t *testing.T) {
	const workers, n = 8, 2000
	r := rand.New(rand.NewPCG(1, 2))
	seen := map[chunk.ID]bool{}
	var ids []chunk.ID
	for len(ids) < n {
		if id := closeID(r, 2*n); !seen[id] {
			seen[id] = true
			ids = append(ids, id)
		}
	}
	x := new(Index)
	var grants [n]atomic.Int32
	var g sync.WaitGroup
	for w := range workers {
		g.Go(func() {
			for _, i := range rand.New(rand.NewPCG(uint64(w), 3)).Perm(n) {
				if x.Claim(ids[i]) {
					grants[i].Add(1)
				}
				x.Lookup(ids[(i+1)%n])
			}
		})
	}
	packed := ids[:n/4] // some of these are claimed before they are added
	p, table := packOf(r, packed)
	g.Go(func() { x.AddPack(p, table) })
	g.Wait()
	for i := range grants {
		if got := grants[i].Load(); got > 1 || got == 0 && i >= len(packed) {
			t.Errorf("chunk %d was granted %d times", i, got)
		}
	}
	_, at := locations(p, table)
	for i, id := range ids {
		got, ok := x.Lookup(id)
		if want := i < len(packed); ok != want || want && got != at[i] {
			t.Fatalf("chunk %d: found %v at %+v", i, ok, got)
		}
		if x.Claim(id) {
			t.Fatalf("chunk %d is granted again", i)
		}
	}
}

func TestDuplicatesKeepTheFirst(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	ids := []chunk.ID{{1}, {2}, {1}, {3}} // one of them twice
	x := new(Index)
	p, table := packOf(r, ids)
	x.AddPack(p, table)
	_, first := locations(p, table)
	again, other := packOf(r, ids)
	x.AddPack(again, other)
	for i, want := range map[int]Location{0: first[0], 1: first[1], 3: first[3]} {
		if got, ok := x.Lookup(ids[i]); !ok || got != want {
			t.Errorf("chunk %d is at %+v, want %+v", i, got, want)
		}
	}
	if count(x) != 3 || len(x.Packs()) != 2 {
		t.Errorf("%d chunks in %d packs", count(x), len(x.Packs()))
	}
}

func TestValues(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	x := new(Index)
	var ids []chunk.ID
	lens := map[chunk.ID]uint32{}
	for range 200 {
		p, table := packOf(r, []chunk.ID{closeID(r, 1000), chunk.ID(randomPackID(r))})
		x.AddPack(p, table)
		for _, ref := range table.Chunks {
			if _, ok := lens[ref.ID]; !ok {
				ids, lens[ref.ID] = append(ids, ref.ID), ref.Len
			}
		}
	}
	v, second := x.Values(), x.Values()
	for i, id := range ids {
		value, n := v.At(id)
		if value == nil || *value != 0 || n != lens[id] {
			t.Fatalf("chunk %d: %v, %d bytes, want 0 and %d", i, value, n, lens[id])
		}
		*value = uint32(i + 1)
	}
	for i, id := range ids {
		if value, _ := v.At(id); *value != uint32(i+1) {
			t.Errorf("chunk %d: %d", i, *value)
		}
		if value, _ := second.At(id); *value != 0 {
			t.Errorf("chunk %d has %d in another set", i, *value)
		}
	}
	if value, _ := v.At(chunk.ID{77, 77}); value != nil {
		t.Error("an unknown chunk has a value")
	}
	late := chunk.ID{ids[0][0], 99}
	x.Claim(late)
	if value, _ := v.At(late); value != nil {
		t.Error("a chunk added after Values has a value")
	}
}
