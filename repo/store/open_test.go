package store

import "testing"

// openLocal is storetest.OpenLocal, which tests inside this package cannot import.
func openLocal(t testing.TB, root string, own Layout) *Local {
	t.Helper()
	l, err := OpenLocal(root, own)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestOpenLocalRefuses(t *testing.T) {
	for _, root := range []string{"", "a\x00b"} {
		if _, err := OpenLocal(root, nil); err == nil {
			t.Errorf("OpenLocal(%q) returned no error", root)
		}
	}
}
