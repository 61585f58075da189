package storetest

import (
	"testing"

	"platter/repo/store"
)

// OpenLocal opens the store in a folder, or fails the test. own is as in store.OpenLocal.
func OpenLocal(t testing.TB, root string, own store.Layout) *store.Local {
	t.Helper()
	l, err := store.OpenLocal(root, own)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}
