package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"platter/repo"
)

// stuff fills a file system up to its last byte with a file.
func stuff(t *testing.T, dir string) {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "ballast"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size := 1 << 20; size > 0; {
		if _, err := f.Write(bytes.Repeat([]byte{1}, size)); errors.Is(err, unix.ENOSPC) {
			size /= 2
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// TestPruneFullNAS checks that a NAS on which a backup found no room has some again after forget and prune, though there is
// none to copy anything. It takes room for a lease and a marker: two pages, or a parity file that is deleted by hand.
func TestPruneFullNAS(t *testing.T) {
	for name, spare := range map[string]int{"nothing but lease and marker": 8 << 10, "an index file": 64 << 10, "more": 128 << 10, "a parity file": 0} {
		if testing.Short() && spare != 0 && spare != 64<<10 {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			nas := mountSmall(t, "12m")
			s := &site{t, t.TempDir(), filepath.Join(nas, "repo"), "platter"}
			s.must(append([]string{"init", "--pack-size", "1M"}, cheapKDF...)...)
			if spare == 0 {
				s.must("parity", "add", "--share", "3%")
			}
			dead, live := s.disk("dead", 4<<20, 1, "random"), s.disk("live", 3<<20, 2, "random")
			large := s.disk("large", 10<<20, 3, "random")
			paste(t, s.disk("shared", 700<<10, 4, "random"), dead, 1<<20)
			paste(t, s.path("shared"), live, 1<<20) // so that one of the packs of dead stays partly needed
			s.must("backup", dead, "--name", "dead")
			s.must("backup", live, "--name", "live")
			reserve := filepath.Join(nas, "reserve")
			if err := os.WriteFile(reserve, bytes.Repeat([]byte{1}, spare), 0o600); err != nil {
				t.Fatal(err)
			}
			s.start(nil, "backup", large, "--name", "large").ends(1, "no space left")
			s.must("forget", "dead", "--yes")
			stuff(t, nas)
			s.start(nil, "prune", "--max-unused", "0").ends(1, "one of the repository's parity files") // no space left, not even for a lease
			s.restores("live", live)
			s.sound()
			room := reserve
			if spare == 0 {
				all, err := filepath.Glob(filepath.Join(s.repo, "packs", "*", "*.par"))
				if err != nil || len(all) == 0 {
					t.Fatal(all, err)
				}
				room = all[0]
			}
			if err := os.Remove(room); err != nil {
				t.Fatal(err)
			}

			var pruned repo.Pruned
			s.query(&pruned, "prune", "--max-unused", "0")
			if pruned.Deleted.Packs < 3 || pruned.Pending.Packs > 0 || pruned.Repacked.Packs == 0 || pruned.Unused > 0 || pruned.Full {
				t.Errorf("prune says %+v", pruned)
			}
			s.restores("live", live)
			s.sound()
			s.must("backup", s.disk("other", 2<<20, 5, "random"), "--name", "other")
			s.restores("other", s.path("other"))
			s.must("prune", "--max-unused", "0")
			s.restores("live", live)
			s.sound()
		})
	}
}
