package storetest

import (
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"testing"
	"time"

	"platter/repo/store"
)

func testMove(t *testing.T, s store.Store) {
	missing := func(from, to string) {
		t.Helper()
		if err := s.Move(t.Context(), from, to); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Move(%s, %s) says %v, want fs.ErrNotExist", from, to, err)
		}
	}
	missing("a/b", "c/d") // while the store's folder is missing
	put(t, s, "a/b", []byte("moved"))
	for _, names := range [][2]string{{"a/b", "c/d/e"}, {"c/d/e", "c/d/f"}, {"c/d/f", "there"}, {"there", "there"}, {"there", "z"}} {
		if err := s.Move(t.Context(), names[0], names[1]); err != nil {
			t.Fatalf("Move(%s, %s): %v", names[0], names[1], err)
		}
		wantFile(t, s, names[1], []byte("moved"))
		wantList(t, s, "", store.Info{Name: names[1], Size: 5})
	}
	missing("there", "z")
	put(t, s, "new", []byte("another"))
	if err := s.Move(t.Context(), "new", "z"); err != nil {
		t.Fatal(err)
	}
	wantFile(t, s, "z", []byte("another"))
	wantList(t, s, "", store.Info{Name: "z", Size: 7})
	for _, names := range [][2]string{{"../z", "y"}, {"z", "../y"}, {"z", ".y"}, {"", "y"}, {"z", ""}} {
		if err := s.Move(t.Context(), names[0], names[1]); !errors.Is(err, store.ErrBadName) {
			t.Errorf("Move(%q, %q) says %v, want ErrBadName", names[0], names[1], err)
		}
	}
}

// testMoveOrDelete moves and deletes each file at once: exactly one of the two succeeds.
func testMoveOrDelete(t *testing.T, s store.Store) {
	const files = 200
	name := func(i int) string { return fmt.Sprintf("from/%d", i) }
	for i := range files {
		put(t, s, name(i), []byte("x"))
	}
	var moved, deleted [files]error
	var both sync.WaitGroup
	both.Go(func() {
		for i := range files {
			moved[i] = s.Move(t.Context(), name(i), fmt.Sprintf("to/%d", i))
		}
	})
	both.Go(func() {
		for i := range files {
			deleted[i] = s.Delete(t.Context(), name(i))
		}
	})
	both.Wait()
	left := 0
	for i := range files {
		loser := moved[i]
		if moved[i] == nil {
			left, loser = left+1, deleted[i]
		} else if deleted[i] != nil {
			t.Errorf("file %d: Move says %v, Delete %v", i, moved[i], deleted[i])
		}
		if !errors.Is(loser, fs.ErrNotExist) {
			t.Errorf("file %d: who came late says %v, want fs.ErrNotExist", i, loser)
		}
	}
	infos, err := list(t.Context(), s, "")
	if err != nil || len(infos) != left {
		t.Errorf("%d files are left, %v; want the %d that were moved", len(infos), err, left)
	}
}

// modTime returns when a file was written, by the store's clock.
func modTime(t *testing.T, s store.Store, name string) time.Time {
	t.Helper()
	for info, err := range s.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		if info.Name == name {
			return info.ModTime
		}
	}
	t.Fatalf("%s is not listed", name)
	return time.Time{}
}

func testTouch(t *testing.T, s store.Store) {
	touch := func(name string) error { return s.Touch(t.Context(), name) }
	for _, name := range []string{"a", "a/b"} {
		if err := touch(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Touch of nothing says %v, want fs.ErrNotExist", err)
		}
		wantList(t, s, "")
	}
	if err := touch("../a"); !errors.Is(err, store.ErrBadName) {
		t.Errorf("Touch(../a) says %v, want ErrBadName", err)
	}
	put(t, s, "a/b", []byte("bytes"))
	before := modTime(t, s, "a/b")
	if before.IsZero() {
		t.Error("a file that was put has no time")
	}
	// If the clock has not advanced, that is not the store's fault.
	for deadline := time.Now().Add(10 * time.Second); ; {
		if err := touch("a/b"); err != nil {
			t.Fatal(err)
		}
		if after := modTime(t, s, "a/b"); after.After(before) {
			break
		} else if after.Before(before) || time.Now().After(deadline) {
			t.Fatalf("touched, it was written at %v, before that at %v", after, before)
		}
	}
	wantFile(t, s, "a/b", []byte("bytes"))
	wantList(t, s, "", store.Info{Name: "a/b", Size: 5})
}
