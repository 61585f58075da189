package virtual

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"platter/snapshot/image"
)

// TestChangedTellsTheWorst changes the files of a disk in every combination. A file that was only written to must
// never hide one with a new size.
func TestChangedTellsTheWorst(t *testing.T) {
	changes := []struct {
		name string
		do   func(path string) error
		want error
	}{
		{"same", func(string) error { return nil }, nil},
		{"modified", func(path string) error { return os.Chtimes(path, time.Time{}, time.Now().Add(time.Hour)) }, image.ErrModified},
		{"longer", func(path string) error { return os.Truncate(path, 5000) }, image.ErrResized},
		{"shorter", func(path string) error { return os.Truncate(path, 1) }, image.ErrResized},
	}
	const files = 3
	for n := range 4 * 4 * 4 {
		var want error
		var names []string
		d := new(Disk)
		for i := range files {
			change := changes[n>>(2*i)&3]
			names = append(names, change.name)
			if want == nil || change.want == image.ErrResized {
				want = change.want
			}
			path := filepath.Join(t.TempDir(), fmt.Sprint("extent", i))
			if err := os.WriteFile(path, make([]byte, 4096), 0o600); err != nil {
				t.Fatal(err)
			}
			f, err := image.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			d.files = append(d.files, f)
			if err := change.do(path); err != nil {
				t.Fatal(err)
			}
		}
		err := d.Changed()
		for _, class := range []error{image.ErrModified, image.ErrResized} {
			if errors.Is(err, class) != (class == want) {
				t.Errorf("%s: %v, want %v", strings.Join(names, ", "), err, want)
			}
		}
		if want == nil && err != nil {
			t.Errorf("%v: %v", names, err)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		if err := d.Changed(); err == nil || errors.Is(err, image.ErrModified) {
			t.Errorf("closed: %v", err)
		}
	}
}
