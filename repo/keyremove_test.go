package repo

import (
	"context"
	"errors"
	"testing"

	"platter/repo/layout"
	"platter/repo/store"
	"platter/repo/store/storetest"
)

// TestRemoveSlotInterrupted holds that a removal that was interrupted after it had begun comes to an end: nothing is left aside.
func TestRemoveSlotInterrupted(t *testing.T) {
	mem := new(store.Mem)
	r := testRepo(t, mem)
	second, err := r.AddSlot(t.Context(), []byte("second"), cheap, "")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	r.setStore(&storetest.Faulty{Store: mem, Lose: func(op, _ string) error {
		if op == "move" {
			cancel()
		}
		return nil
	}})
	if _, err := r.RemoveSlot(ctx, second.String()); err != nil {
		t.Error(err)
	}
	if files := filesOf(t, mem); len(files) != 2 {
		t.Errorf("%d files, want the config and one key", len(files))
	}
}

// TestRemoveSlotBesideOther holds that a removal whose witness goes meanwhile is taken back.
func TestRemoveSlotBesideOther(t *testing.T) {
	ctx := t.Context()
	mem := new(store.Mem)
	r := testRepo(t, mem)
	second, err := r.AddSlot(ctx, []byte("second"), cheap, "")
	if err != nil {
		t.Fatal(err)
	}
	r.setStore(&storetest.Faulty{Store: mem, Lose: func(op, _ string) error {
		if op == "move" { // once more at least: then it is not there any more
			_ = mem.Delete(ctx, layout.Name(layout.Keys, r.slot))
		}
		return nil
	}})
	if _, err := r.RemoveSlot(ctx, second.String()); !errors.Is(err, ErrKeyMoved) {
		t.Errorf("%v, want ErrKeyMoved", err)
	}
	if opens(t, mem, "pw") || !opens(t, mem, "second") {
		t.Error("the last key is not in its place")
	}
	if files := filesOf(t, mem); len(files) != 2 {
		t.Errorf("%d files, want the config and one key", len(files))
	}
}
