package repo

import (
	"context"
	"strings"
	"testing"

	"platter/index"
	"platter/pack"
	"platter/repo/layout"
	"platter/repo/store"
	"platter/repo/store/storetest"
)

// repairable returns states of a repository that RepairIndex makes whole.
func repairable(x *sample) map[string]*sample {
	out := map[string]*sample{}
	with := func(name string, change func(files map[string][]byte)) {
		y := x.clone()
		change(y.files)
		out[name] = y
	}
	with("whole", func(map[string][]byte) {})
	with("no index", func(files map[string][]byte) {
		for _, name := range x.in(layout.Index) {
			delete(files, name)
		}
	})
	with("one index file missing", func(files map[string][]byte) { delete(files, x.in(layout.Index)[0]) })
	with("one index file damaged", func(files map[string][]byte) { files[x.in(layout.Index)[0]] = []byte("damaged") })
	with("all index files damaged", func(files map[string][]byte) {
		for _, name := range x.in(layout.Index) {
			files[name] = files[name][:len(files[name])-1]
		}
	})
	return out
}

func TestRepairIndex(t *testing.T) {
	x := newSample(t)
	bad := map[string]int{"one index file damaged": 1, "all index files damaged": 2}
	for name, y := range repairable(x) {
		mem := storetest.MemOf(t, y.files)
		r, err := Open(context.Background(), mem, []byte("pw"))
		if err != nil {
			t.Fatal(err)
		}
		old := len(y.in(layout.Index))
		done, err := r.RepairIndex(context.Background(), nil)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if done.Packs != len(x.in(layout.Packs)) || done.Kept != 0 || len(done.Lost) > 0 || len(done.Unreadable) != bad[name] || done.Index != 1 || done.Removed != old {
			t.Errorf("%s: %+v", name, done)
		}
		wantLoads(t, r, x.chunks)
		x.wantWhole(t, mem)
		again, err := r.RepairIndex(context.Background(), nil)
		if err != nil || again.Removed != 1 || again.Packs != done.Packs {
			t.Errorf("%s: the second repair: %+v, %v", name, again, err)
		}
		x.wantWhole(t, mem)
	}
}

func TestRepairOfNothing(t *testing.T) {
	mem := new(store.Mem)
	r := testRepo(t, mem)
	done, err := r.RepairIndex(context.Background(), nil)
	if err != nil || done.Packs+done.Index+done.Removed+len(done.Lost)+len(done.Unreadable) > 0 {
		t.Errorf("%+v, %v", done, err)
	}
}

// TestRepairKeepsTables repairs with a pack whose own table cannot be read. The old index replaces the table; without
// an old index, the pack is named as lost.
func TestRepairKeepsTables(t *testing.T) {
	x := newSample(t)
	name := x.in(layout.Packs)[0]
	for _, indexed := range []bool{true, false} {
		y := x.clone()
		bad := append([]byte(nil), y.files[name]...)
		bad[len(bad)-1] ^= 1
		y.files[name] = bad
		if !indexed {
			for _, name := range y.in(layout.Index) {
				delete(y.files, name)
			}
		}
		r, err := Open(context.Background(), storetest.MemOf(t, y.files), []byte("pw"))
		if err != nil {
			t.Fatal(err)
		}
		done, err := r.RepairIndex(context.Background(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if indexed {
			wantLoads(t, r, x.chunks)
			if done.Kept != 1 || len(done.Lost) > 0 || done.Packs != len(x.in(layout.Packs)) {
				t.Errorf("%+v", done)
			}
		} else if len(done.Lost) != 1 || !strings.HasPrefix(done.Lost[0], name+":") || done.Packs != len(x.in(layout.Packs))-1 {
			t.Errorf("%+v", done)
		}
	}
}

// TestSupersededIndex checks that a superseded index file no longer counts, although it still exists.
func TestSupersededIndex(t *testing.T) {
	ctx := context.Background()
	x := newSample(t)
	mem := storetest.MemOf(t, x.files)
	r := reopen(t, mem)
	wrong := pack.FileID{1, 2, 3} // a pack that is missing
	old := putIndexFile(t, r, &index.File{Packs: []index.PackTable{{Pack: index.Pack{ID: wrong, Size: 4096}, Table: new(pack.Table)}}})
	report, err := reopen(t, mem).Check(ctx, CheckOptions{}, nil)
	if err != nil || !lists(report, layout.PackName(wrong)) || !reopen(t, mem).Index().HasPack(wrong) {
		t.Fatalf("an index file that lists a missing pack: %v, %q", err, report.Damage)
	}
	putIndexFile(t, r, &index.File{Supersedes: []pack.FileID{old}})
	if reopen(t, mem).Index().HasPack(wrong) {
		t.Error("a superseded index file counts")
	}
	x.wantWhole(t, mem)
	done, err := reopen(t, mem).RepairIndex(ctx, nil)
	if err != nil || done.Removed != 4 || done.Index != 1 {
		t.Errorf("%+v, %v", done, err)
	}
	x.wantWhole(t, mem)
}
