package index

import (
	"math/rand/v2"
	"testing"

	"platter/chunk"
	"platter/pack"
)

// TestDoubtFindsTheOther holds that a chunk which lies in a pack that is doubted is found in one that is not, and is not
// stored again, whichever of the two came first and wherever the index has them.
func TestDoubtFindsTheOther(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	ids := []chunk.ID{{1}, {1, 2}, {2}, {3}}
	for _, first := range []bool{false, true} {
		for _, merged := range []bool{false, true} {
			x := new(Index)
			a, at := packOf(r, ids)
			b, bt := packOf(r, ids)
			x.AddPack(a, at)
			if merged {
				x.Cover(pack.FileID{1}, nil, []PackTable{{Pack: a, Table: at}})
				if err := x.Merge(t.Context(), &Cache{Folder: t.TempDir()}); err != nil {
					t.Fatal(err)
				}
			}
			x.AddPack(b, bt)
			bad, good := a, b
			if first {
				bad, good = b, a
			}
			x.Doubt([]pack.FileID{bad.ID})
			for _, id := range ids {
				if loc, ok := x.Lookup(id); !ok || loc.Pack != good.ID {
					t.Errorf("doubted first: %v, merged: %v: found in %v, not in %v", first, merged, loc.Pack, good.ID)
				}
				if x.Claim(id) {
					t.Errorf("doubted first: %v, merged: %v: stored again", first, merged)
				}
				if n := len(x.Places(id)); n != 2 {
					t.Errorf("doubted first: %v, merged: %v: %d places", first, merged, n)
				}
			}
			x.Doubt([]pack.FileID{good.ID})
			if _, ok := x.Lookup(ids[0]); !ok || !x.Claim(ids[0]) || x.Claim(ids[0]) {
				t.Error("with both doubted it is not found, or not stored again just once")
			}
		}
	}
}
