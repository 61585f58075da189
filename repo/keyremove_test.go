package repo

import (
	"context"
	"errors"
	"testing"

	"platter/repo/layout"
	"platter/repo/store"
	"platter/repo/store/storetest"
)

// TestRemoveSlotInterrupted checks that a removal interrupted after it began is still finished: no slot is left aside.
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
	if files := storetest.Files(t, mem); len(files) != 2 {
		t.Errorf("%d files, want the config and one key", len(files))
	}
}

// TestRemoveSlotBesideOther checks that a removal is undone if its witness is removed meanwhile.
func TestRemoveSlotBesideOther(t *testing.T) {
	ctx := t.Context()
	mem := new(store.Mem)
	r := testRepo(t, mem)
	second, err := r.AddSlot(ctx, []byte("second"), cheap, "")
	if err != nil {
		t.Fatal(err)
	}
	r.setStore(&storetest.Faulty{Store: mem, Lose: func(op, _ string) error {
		if op == "move" { // runs at least twice; the second time, the witness is missing already
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
	if files := storetest.Files(t, mem); len(files) != 2 {
		t.Errorf("%d files, want the config and one key", len(files))
	}
}
