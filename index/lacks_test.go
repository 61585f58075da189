package index

import (
	"math/rand/v2"
	"testing"

	"platter/chunk"
	"platter/pack"
)

// TestLacks holds that a chunk is lacked when Claim would have it stored again and some pack had it once.
func TestLacks(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 3))
	for _, merged := range []bool{false, true} {
		x := new(Index)
		ids := []chunk.ID{{1}, {2}}
		a, at := packOf(r, ids)
		b, bt := packOf(r, ids[1:])
		x.AddPack(a, at)
		x.AddPack(b, bt)
		if merged {
			x.Cover(pack.FileID{1}, nil, []PackTable{{Pack: a, Table: at}, {Pack: b, Table: bt}})
			if err := x.Merge(t.Context(), &Cache{Folder: t.TempDir()}); err != nil {
				t.Fatal(err)
			}
		}
		want := func(when string, first, second bool) {
			t.Helper()
			if x.Lacks(ids[0]) != first || x.Lacks(ids[1]) != second || x.Lacks(chunk.ID{3}) {
				t.Errorf("merged %v, %s: %v %v %v", merged, when, x.Lacks(ids[0]), x.Lacks(ids[1]), x.Lacks(chunk.ID{3}))
			}
		}
		want("all is there", false, false)
		x.Doubt([]pack.FileID{a.ID})
		want("a is doubted", true, false)
		x.Doubt([]pack.FileID{b.ID})
		want("both are", true, true)
		x.Trust([]pack.FileID{a.ID})
		want("a is trusted again", false, false)
		x.Doubt([]pack.FileID{a.ID})
		if !x.Claim(ids[0]) {
			t.Error("nobody is to store what is lacked")
		}
		want("one is being stored", false, true)
	}
}
