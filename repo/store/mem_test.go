package store_test

import (
	"errors"
	"testing"

	"platter/repo/store"
	"platter/repo/store/storetest"
)

func TestMem(t *testing.T) {
	storetest.Run(t, func(*testing.T) store.Store { return new(store.Mem) })
}

func TestMemFull(t *testing.T) {
	m := &store.Mem{Limit: 10}
	put := func(name string, size int, want error) {
		t.Helper()
		if err := m.Put(t.Context(), name, make([]byte, size)); !errors.Is(err, want) {
			t.Fatalf("Put of %d bytes as %s says %v, want %v", size, name, err, want)
		}
	}
	put("a", 6, nil)
	put("b", 5, store.ErrFull)
	put("b", 4, nil)
	put("c", 1, store.ErrFull)
	put("a", 7, store.ErrFull)
	put("a", 5, nil) // replaces the six old bytes
	put("c", 1, nil)
	if err := m.Delete(t.Context(), "b"); err != nil {
		t.Fatal(err)
	}
	put("d", 4, nil)
	put("e", 1, store.ErrFull)
	if got, err := m.Get(t.Context(), "a", 0, 10); err != nil || len(got) != 5 {
		t.Errorf("after refused Puts a has %d bytes, %v; want 5", len(got), err)
	}
}
