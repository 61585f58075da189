package repo

import (
	"strings"
	"sync"
	"testing"

	"platter/pack"
	"platter/repo/layout"
	"platter/repo/store"
	"platter/repo/store/storetest"
)

// TestPruneFull prunes a store that has little room, or none. It deletes unneeded packs as soon as there is room for a
// lease and a marker; then there is room for copies. Needed data is never lost, wherever the room ends.
func TestPruneFull(t *testing.T) {
	base := new(store.Mem)
	testRepo(t, base)
	chunks := noiseChunks(1, 100, 50000) // about five packs
	forgotten := keepChunks(t, reopen(t, base), chunks[:60])
	partly := keepChunks(t, reopen(t, base), chunks[55:80]) // needs a little of the earlier packs
	other := keepChunks(t, reopen(t, base), chunks[80:])
	if _, err := reopen(t, base).Forget(t.Context(), []pack.FileID{forgotten}); err != nil {
		t.Fatal(err)
	}
	files, used := storetest.Files(t, base), int64(0)
	for _, data := range files {
		used += int64(len(data))
	}
	var refused, fell, copied int
	for _, room := range []int64{0, 500, 1000, 1500, 2000, 3000, 4000, 6000, 10_000, 50_000, 300_000, 1 << 20, 2 << 20, 10 << 20} {
		mem := storetest.MemOf(t, files)
		mem.Limit = used + room
		r := reopen(t, mem)
		var mu sync.Mutex
		first := "" // the folder of the first deletion
		r.setStore(&storetest.Faulty{Store: mem, Lose: func(op, name string) error {
			mu.Lock()
			defer mu.Unlock()
			if dir := layout.Dir(name); op == "delete" && first == "" && (dir == layout.Packs || dir == layout.Index) {
				first = dir
			}
			return nil
		}})
		done, err := r.Prune(t.Context(), PruneOptions{MaxRepack: 1 << 40}, markModel(r), nil)
		switch {
		case isFull(err) && room < 3000:
			if refused++; !strings.Contains(err.Error(), hintFull) {
				t.Errorf("room for %d bytes: %v", room, err)
			}
		case err != nil:
			t.Errorf("room for %d bytes: %v", room, err)
		default:
			if first == layout.Packs {
				fell++
			}
			if done.Repacked.Packs > 0 {
				copied++
			}
			if done.Full || done.Unused > 0 || done.Deleted.Packs == 0 {
				t.Errorf("room for %d bytes: %+v", room, done)
			}
		}
		mem.Limit = 0
		wantSnapshots(t, mem, partly, other)
		mustPrune(t, reopen(t, mem), PruneOptions{})
		wantSnapshots(t, mem, partly, other)
	}
	if refused == 0 || fell == 0 || copied < 5 {
		t.Errorf("%d prunes had no room for a marker, %d deleted packs before there was room for an index, %d copied", refused, fell, copied)
	}
}
