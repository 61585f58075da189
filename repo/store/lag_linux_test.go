package store_test

import (
	"os"
	"testing"

	"platter/repo/store"
)

// TestLag holds that a folder of this machine shows what is there, and that one of which nobody knows counts as another's.
func TestLag(t *testing.T) {
	if lag := store.NewLocal(t.TempDir()).Lag(); lag != 0 {
		t.Errorf("a folder of this machine lags by %v", lag)
	}
	if _, err := os.Stat("/proc/self"); err == nil {
		if lag := store.NewLocal("/proc").Lag(); lag == 0 {
			t.Error("an unknown file system does not lag")
		}
	}
}
