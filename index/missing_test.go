package index

import (
	"math/rand/v2"
	"testing"

	"platter/chunk"
	"platter/pack"
)

// TestMissing checks that a chunk is missing if a pack had it and Claim would grant it.
func TestMissing(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 3))
	for _, merged := range []bool{false, true} {
		x := new(Index)
		ids := []chunk.ID{{1}, {2}}
		a, at := packOf(r, ids)
		b, bt := packOf(r, ids[1:])
		x.AddPack(a, at)
		x.AddPack(b, bt)
		if merged {
			x.AddSource(pack.FileID{1}, nil, []PackTable{{Pack: a, Table: at}, {Pack: b, Table: bt}})
			if err := x.Merge(t.Context(), &Cache{Folder: t.TempDir()}); err != nil {
				t.Fatal(err)
			}
		}
		want := func(when string, first, second bool) {
			t.Helper()
			if x.Missing(ids[0]) != first || x.Missing(ids[1]) != second || x.Missing(chunk.ID{3}) {
				t.Errorf("merged %v, %s: %v %v %v", merged, when, x.Missing(ids[0]), x.Missing(ids[1]), x.Missing(chunk.ID{3}))
			}
		}
		want("all packs are usable", false, false)
		x.Suspend([]pack.FileID{a.ID})
		want("a is suspended", true, false)
		x.Suspend([]pack.FileID{b.ID})
		want("both are suspended", true, true)
		x.Resume([]pack.FileID{a.ID})
		want("a is resumed", false, false)
		x.Suspend([]pack.FileID{a.ID})
		if !x.Claim(ids[0]) {
			t.Error("Claim refuses a missing chunk")
		}
		want("one is claimed", false, true)
	}
}
