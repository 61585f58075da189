package image

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestFileUses checks that loop devices and swap files are found by identity, not by name.
func TestFileUses(t *testing.T) {
	f := tempFile(t, os.O_RDWR)
	hard := f.Name() + ".hard"
	if err := os.Link(f.Name(), hard); err != nil {
		t.Fatal(err)
	}
	s := newFakeSystem(t)
	s.device("virtual/block/loop3", "7:3")
	s.device("virtual/block/loop4", "7:4")
	s.device("virtual/block/dm-0", "253:0")
	s.stack("virtual/block/dm-0", "virtual/block/loop3")
	s.file("proc/self/mountinfo", "1 0 0:1 / /proc rw - proc proc rw\n2 1 0:50 / /m ro - erofs /img/a ro\n3 1 0:51 / /n rw - fuse.fuse2fs /img/other rw\n")
	s.file("proc/swaps", "Filename\tType\tSize\tUsed\tPriority\n/swap\\040file file 100 0 -2\n")
	for _, path := range []string{"img/a", "swap file"} { // paths are below the made-up root
		if err := os.MkdirAll(filepath.Dir(s.at(path)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(hard, s.at(path)); err != nil {
			t.Fatal(err)
		}
	}
	s.file("sys/devices/virtual/block/loop3/loop/backing_file", "/img/a\n")
	s.file("sys/devices/virtual/block/loop4/loop/backing_file", "/img/b (deleted)\n")
	uses, err := s.Uses(f)
	if err != nil {
		t.Fatal(err)
	}
	var what, remedies []string
	for _, u := range uses {
		what, remedies = append(what, u.String()), append(remedies, u.Remedy())
	}
	if want := []string{
		"loop3 is held by dm-0", f.Name() + " is held by loop3",
		f.Name() + " is mounted on /m (ro)", f.Name() + " is swapped on",
	}; !slices.Equal(what, want) {
		t.Errorf("used so: %q, not %q", what, want)
	}
	if want := "losetup --detach /dev/loop3, umount /m, swapoff " + f.Name(); !strings.HasSuffix(strings.Join(remedies, ", "), want) {
		t.Errorf("the remedies are %q", remedies)
	}
}
