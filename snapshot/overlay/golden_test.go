package overlay

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"platter/snapshot/image"
)

var writeGolden = flag.Bool("write-golden", false, "write testdata/v1 if it does not exist")

// TestGolden opens an overlay that the first version wrote.
func TestGolden(t *testing.T) {
	base := image.Sparse{Bytes: 20*unit + 10, Fills: []image.Fill{{Len: 20*unit + 10, Seed: 5}}}
	path := filepath.Join("testdata", "v1")
	if *writeGolden {
		f, err := newFile(path)
		must(t, err)
		d, err := create(f, base, Binding{5}, 2)
		must(t, err)
		for _, text := range []string{"one", "two", "three"} { // the third sync begins a journal
			_, err := d.WriteAt([]byte(text), int64(len(text))*3*unit)
			must(t, err)
			must(t, d.Sync())
		}
		must(t, d.Zero(0, 2*unit))
		_, err = d.WriteAt([]byte("end"), base.Bytes-3)
		must(t, err)
		must(t, d.Close())
	}
	data, err := os.ReadFile(path)
	must(t, err)
	d, err := open(&memFile{data: data}, base, Binding{5})
	must(t, err)
	want := make([]byte, base.Bytes)
	if _, err := base.ReadAt(want, 0); err != nil {
		t.Fatal(err)
	}
	clear(want[:2*unit])
	copy(want[9*unit:], "two")
	copy(want[15*unit:], "three")
	copy(want[base.Bytes-3:], "end")
	got := make([]byte, base.Bytes)
	if _, err := d.ReadAt(got, 0); err != nil || string(got) != string(want) {
		t.Errorf("the overlay holds something else, %v", err)
	}
}
