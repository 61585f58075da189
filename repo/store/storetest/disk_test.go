package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"platter/repo/store"
)

func TestDisk(t *testing.T) {
	Run(t, func(*testing.T) store.Store { return store.NewLocalOn(NewDisk()) })
}

// A script is a series of calls of a disk that stops at the first error.
type script struct {
	*Disk
	err error
}

func (s *script) do(err error) {
	if s.err == nil {
		s.err = err
	}
}

// write creates a file of two pages, each filled with one digit.
func (s *script) write(name string, sync bool) {
	f, err := s.Create(name)
	if s.do(err); err != nil {
		return
	}
	for _, digit := range []string{"1", "2"} {
		_, err := io.WriteString(f, strings.Repeat(digit, 4096))
		s.do(err)
	}
	if sync {
		s.do(f.Sync())
	}
}

// left describes the files of a disk: their names, and the first and last byte of each page.
func left(t *testing.T, d *Disk) string {
	t.Helper()
	s := store.NewLocalOn(d)
	infos, err := list(t.Context(), s, "")
	if err != nil {
		t.Fatal(err)
	}
	var files []string
	for _, info := range infos {
		data, err := s.Get(t.Context(), info.Name, 0, info.Size)
		if err != nil {
			t.Fatal(err)
		}
		var pages []byte
		for page := range slices.Chunk(bytes.ReplaceAll(data, []byte{0}, []byte{'0'}), 4096) {
			pages = append(pages, page[0], page[len(page)-1])
		}
		files = append(files, fmt.Sprintf("%s:%s", info.Name, pages))
	}
	return strings.Join(files, " ")
}

// TestPowerCuts checks for small scripts what power cuts can leave: everything in want, and nothing else.
func TestPowerCuts(t *testing.T) {
	const torn = "|a:|a:11|a:1122|a:1100|a:0022|a:0000|a:00"
	for _, test := range []struct {
		name string
		run  func(s *script)
		want string
	}{
		{"nothing synced", func(s *script) { s.write("a", false) }, torn},
		{"file synced", func(s *script) { s.write("a", true) }, "|a:1122"},
		{"folder synced", func(s *script) { s.write("a", false); s.do(s.SyncFolder(".")) }, torn[1:]},
		{"both synced", func(s *script) { s.write("a", true); s.do(s.SyncFolder(".")) }, "a:1122"},
		{"folder synced too soon", func(s *script) { s.do(s.SyncFolder(".")); s.write("a", true) }, "|a:1122"},
		{"removed", func(s *script) { s.write("a", true); s.do(s.SyncFolder(".")); s.do(s.Remove("a")) }, "|a:1122"},
		{"removed and synced", func(s *script) { s.write("a", true); s.do(s.Remove("a")); s.do(s.SyncFolder(".")) }, ""},
		{"renamed", func(s *script) {
			s.write("a", true)
			s.do(s.SyncFolder("."))
			s.do(s.Rename("a", "b"))
		}, "a:1122|b:1122|a:1122 b:1122"},
		{"renamed over", func(s *script) {
			s.write("b", true)
			s.write("a", false)
			s.do(s.SyncFolder("."))
			s.do(s.Rename("a", "b"))
			s.do(s.SyncFolder("."))
		}, strings.ReplaceAll(torn[1:], "a", "b")},
		{"two files", func(s *script) { s.write("a", true); s.write("b", true) }, "|a:1122|b:1122|a:1122 b:1122"},
		{"folder of a synced folder", func(s *script) {
			s.do(s.Mkdir("d"))
			s.write("d/a", true)
			s.do(s.SyncFolder("d"))
		}, "|d/a:1122"},
		{"moved", moved(""), "a:1122|d/b:1122|a:1122 d/b:1122"},
		{"moved, source synced", moved("."), "d/b:1122"},
		{"moved, target synced", moved("d"), "d/b:1122|a:1122 d/b:1122"},
		{"onto itself", func(s *script) { s.write("a", true); s.do(s.SyncFolder(".")); s.do(s.Rename("a", "a")) }, "a:1122"},
		{"touched", func(s *script) { s.write("a", true); s.do(s.SyncFolder(".")); s.do(s.Touch("a")) }, "a:1122"},
		{"moved into a new folder", func(s *script) {
			s.write("a", true)
			s.do(s.SyncFolder("."))
			s.do(s.Mkdir("d"))
			s.do(s.Rename("a", "d/b"))
		}, "a:1122|d/b:1122|a:1122 d/b:1122"},
		{"moved twice", func(s *script) {
			moved("")(s)
			s.do(s.Rename("d/b", "c"))
		}, "a:1122|d/b:1122|c:1122|a:1122 d/b:1122|a:1122 c:1122|c:1122 d/b:1122|a:1122 c:1122 d/b:1122"},
	} {
		s := &script{Disk: NewDisk()}
		test.run(s)
		if s.err != nil {
			t.Fatalf("%s: %v", test.name, s.err)
		}
		got := map[string]bool{}
		for c := range Random + 600 {
			got[left(t, s.Lose(c))] = true
		}
		for _, want := range strings.Split(test.want, "|") {
			if !got[want] {
				t.Errorf("%s: no cut leaves %q", test.name, want)
			}
			delete(got, want)
		}
		for left := range got {
			t.Errorf("%s: a cut leaves %q", test.name, left)
		}
	}
}

// moved moves a durable file between durable folders and syncs the folder sync.
func moved(sync string) func(s *script) {
	return func(s *script) {
		s.do(s.Mkdir("d"))
		s.write("a", true)
		s.do(s.SyncFolder("."))
		s.do(s.Rename("a", "d/b"))
		if sync != "" {
			s.do(s.SyncFolder(sync))
		}
	}
}

func TestTornAt512(t *testing.T) {
	s := &script{Disk: NewDisk()}
	s.write("a", false)
	for range 50 {
		s.do(s.SyncFolder(".")) // the number of calls seeds the cut
		data := s.Lose(Torn512).find("a").data
		if len(data)%512 != 0 || len(data) == 8192 || bytes.Contains(data, []byte{0}) {
			t.Errorf("%d bytes are left", len(data))
		}
	}
}

// TestSyncAfterFailure checks that data of a failed sync is lost for good, even after a sync that succeeds.
func TestSyncAfterFailure(t *testing.T) {
	d, broken := NewDisk(), errors.New("broken")
	d.Fail = func(_ int, what string) error {
		if what == "sync" && !slices.Contains(d.calls[:len(d.calls)-1], "sync") {
			return broken
		}
		return nil
	}
	s := &script{Disk: d}
	f, err := s.Create("a")
	s.do(err)
	_, err = f.Write([]byte("x"))
	s.do(err)
	s.do(s.SyncFolder("."))
	if first, second := f.Sync(), f.Sync(); first != broken || second != nil || s.err != nil {
		t.Fatal(first, second, s.err)
	}
	if got := left(t, d.Lose(Lost)); got != "a:" {
		t.Errorf("the second sync was no lie: %q", got)
	}
}

func TestShortWrite(t *testing.T) {
	d := NewDisk()
	d.Fail = func(_ int, what string) error {
		if what == "write 8" {
			return io.ErrShortWrite
		}
		return nil
	}
	f, err := d.Create("a")
	if err != nil {
		t.Fatal(err)
	}
	if n, err := f.Write([]byte("12345678")); n != 4 || err == nil || string(d.find("a").data) != "1234" {
		t.Errorf("%d bytes written, %v", n, err)
	}
}

// TestWrecks checks that Wrecks cuts after every call, returns each result once, and records what was promised.
func TestWrecks(t *testing.T) {
	promised := 0
	wrecks, tried := Wrecks(NewDisk(), Cuts, func() int { return promised }, func(d *Disk) {
		s := &script{Disk: d}
		s.write("a", true)
		s.do(s.SyncFolder("."))
		promised = 1
		s.do(s.Remove("a"))
		promised = 2
	})
	// After create, two writes, two syncs and remove; and before all calls, and after work.
	if want := 8 * int(Cuts); tried != want {
		t.Errorf("%d cuts, want %d", tried, want)
	}
	seen := map[string]int{}
	for _, w := range wrecks {
		got := left(t, w.Disk)
		seen[fmt.Sprint(w.Promised, got)]++
		if w.Promised > 0 && got != "" && got != "a:1122" {
			t.Errorf("%s: %q", w.Where, got)
		}
	}
	for _, want := range []string{"0", "0a:1122", "0a:", "1", "1a:1122", "2", "2a:1122"} {
		if seen[want] == 0 {
			t.Errorf("no wreck is %q", want)
		}
	}
	if seen["0"] != 1 || seen["1"] != 1 {
		t.Errorf("some wrecks appear twice: %v", seen)
	}
}
