package index

import (
	"math/rand/v2"
	"testing"

	"platter/chunk"
	"platter/pack"
)

// TestSuspendedPackHasASubstitute checks that a chunk in a suspended pack and in another is found in the other, and
// is not stored again. The order of the packs and the presence of a run make no difference.
func TestSuspendedPackHasASubstitute(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	ids := []chunk.ID{{1}, {1, 2}, {2}, {3}}
	for _, first := range []bool{false, true} {
		for _, merged := range []bool{false, true} {
			x := new(Index)
			a, at := packOf(r, ids)
			b, bt := packOf(r, ids)
			x.AddPack(a, at)
			if merged {
				x.AddSource(pack.FileID{1}, nil, []PackTable{{Pack: a, Table: at}})
				if err := x.Merge(t.Context(), &Cache{Folder: t.TempDir()}); err != nil {
					t.Fatal(err)
				}
			}
			x.AddPack(b, bt)
			bad, good := a, b
			if first {
				bad, good = b, a
			}
			x.Suspend([]pack.FileID{bad.ID})
			for _, id := range ids {
				if loc, ok := x.Lookup(id); !ok || loc.Pack != good.ID {
					t.Errorf("first suspended: %v, merged: %v: found in %v, want %v", first, merged, loc.Pack, good.ID)
				}
				if x.Claim(id) {
					t.Errorf("first suspended: %v, merged: %v: stored again", first, merged)
				}
				if n := len(x.Places(id)); n != 2 {
					t.Errorf("first suspended: %v, merged: %v: %d places, want 2", first, merged, n)
				}
			}
			x.Suspend([]pack.FileID{good.ID})
			if _, ok := x.Lookup(ids[0]); !ok || !x.Claim(ids[0]) || x.Claim(ids[0]) {
				t.Error("with both packs suspended, want the chunk found and claimed exactly once")
			}
		}
	}
}
