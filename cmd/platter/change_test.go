package main

import (
	"errors"
	"os"
	"testing"
)

// TestSourceChanges changes a disk while it is being read: packs come out of it, and most of it is still to be read.
func TestSourceChanges(t *testing.T) {
	size := shorter(64<<20, 24<<20)
	tests := []struct {
		name   string
		change func(*os.File) error
		code   int
		says   string
	}{
		{"shorter", func(f *os.File) error { return f.Truncate(1 << 20) }, 1, "size"},
		{"longer", func(f *os.File) error { return f.Truncate(size + 1) }, 1, "size"},
		{"written to", func(f *os.File) error {
			_, err := f.WriteAt([]byte("now"), 5)
			return err
		}, 0, "was written to while it was read, so this version is a mixture"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t)
			disk := s.disk("disk", size, 1, "random")
			p := s.start(nil, "backup", disk)
			s.waitForPacks(1)
			f, err := os.OpenFile(disk, os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(tt.change(f), f.Close()); err != nil {
				t.Fatal(err)
			}
			p.ends(tt.code, tt.says)
			list := s.snapshots()
			if tt.code != 0 && len(list) != 0 || tt.code == 0 && (len(list) != 1 || !list[0].Modified) {
				t.Errorf("it kept %+v", list)
			}
			s.sound()
		})
	}
}
