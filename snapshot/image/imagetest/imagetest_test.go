package imagetest

import (
	"errors"
	"testing"

	"platter/snapshot/image"
)

// TestFaulty checks which reads fail, and how much they return.
func TestFaulty(t *testing.T) {
	broken := errors.New("broken")
	mem := image.Mem{Data: make([]byte, 4*Sector)}
	second := Where(func(off int64) bool { return off == Sector }, broken)
	for _, c := range []struct {
		off, n  int64
		partial bool
		want    int
		fails   bool
	}{
		{0, Sector, false, Sector, false},
		{0, Sector + 1, false, 0, true},
		{100, Sector, true, Sector - 100, true},
		{Sector + 100, 10, true, 0, true},
		{2*Sector - 1, Sector, true, 0, true},
		{2 * Sector, Sector, false, Sector, false},
	} {
		d := &Faulty{Disk: mem, Bad: second, Partial: c.partial}
		if n, err := d.ReadAt(make([]byte, c.n), c.off); n != c.want || errors.Is(err, broken) != c.fails || d.BytesRead() != c.n {
			t.Errorf("%+v: %d bytes, %v", c, n, err)
		}
	}
	d := &Faulty{Disk: mem, Fail: After(2, broken)}
	for i := range 4 {
		if _, err := d.ReadAt(make([]byte, 1), 0); errors.Is(err, broken) != (i >= 2) {
			t.Errorf("read %d: %v", i, err)
		}
	}
	if d.Reads() != 4 {
		t.Errorf("%d reads, want 4", d.Reads())
	}
}
