// Package storetest tests the promises of store.Store on every kind of store, and breaks a store on purpose for the
// tests of its users.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"platter/repo/store"
)

// Run is the suite that every store must pass. open returns an empty store that no other test uses.
func Run(t *testing.T, open func(t *testing.T) store.Store) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, store.Store)
	}{
		{"sizes", testSizes},
		{"ranges", testRanges},
		{"replace", testReplace},
		{"missing", testMissing},
		{"good names", testGoodNames},
		{"bad names", testBadNames},
		{"copies", testCopies},
		{"create", testCreate},
		{"create at once", testCreateAtOnce},
		{"cancelled", testCancelled},
		{"move", testMove},
		{"move or delete", testMoveOrDelete},
		{"touch", testTouch},
		{"same name", testSameName},
		{"list", testList},
		{"list breaks off", testListBreaksOff},
		{"list while changing", testListWhileChanging},
		{"close", testClose},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}

// noise returns n bytes that differ from seed to seed and never repeat.
func noise(seed byte, n int) []byte {
	data := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(data) // never fails
	return data
}

func put(t testing.TB, s store.Store, name string, data []byte) {
	t.Helper()
	if err := s.Put(t.Context(), name, data); err != nil {
		t.Fatalf("Put of %d bytes: %v", len(data), err)
	}
}

// wantFile fails unless the file holds exactly data.
func wantFile(t *testing.T, s store.Store, name string, data []byte) {
	t.Helper()
	got, err := s.Get(t.Context(), name, 0, int64(len(data))+1)
	if err != nil {
		t.Fatalf("Get: %v", err)
	}
	if !bytes.Equal(got, data) {
		t.Fatalf("Get(%s) returned %d bytes that are not the %d bytes put", name, len(got), len(data))
	}
}

func testSizes(t *testing.T, s store.Store) {
	const piece = 4 << 20 // how much Local writes at once
	for _, size := range []int{0, 1, 4095, 4096, 1<<20 + 1, piece - 1, piece, piece + 1, 2*piece + 3} {
		name := fmt.Sprintf("sizes/%d", size)
		data := noise(1, size)
		put(t, s, name, data)
		wantFile(t, s, name, data)
	}
}

func testRanges(t *testing.T, s store.Store) {
	const size = 5<<20 + 7
	data := noise(2, size)
	put(t, s, "ranges", data)
	for _, test := range []struct{ off, n, from, to int64 }{
		{0, 0, 0, 0},
		{0, 1, 0, 1},
		{0, size, 0, size},
		{0, math.MaxInt64, 0, size},
		{1, math.MaxInt64, 1, size},
		{17, 4096, 17, 17 + 4096},
		{4<<20 - 3, 9, 4<<20 - 3, 4<<20 + 6},
		{size - 5, 5, size - 5, size},
		{size - 5, 6, size - 5, size},
		{size, 1, size, size},
		{size + 1, 1, size, size},
		{math.MaxInt64, math.MaxInt64, size, size},
	} {
		got, err := s.Get(t.Context(), "ranges", test.off, test.n)
		if err != nil || !bytes.Equal(got, data[test.from:test.to]) {
			t.Errorf("Get(%d, %d) = %d bytes, %v; want bytes %d to %d", test.off, test.n, len(got), err, test.from, test.to)
		}
	}
	for _, test := range []struct{ off, n int64 }{{-1, 1}, {0, -1}, {-1, -1}, {math.MinInt64, 1}, {size + 1, -1}} {
		if got, err := s.Get(t.Context(), "ranges", test.off, test.n); err == nil {
			t.Errorf("Get(%d, %d) = %d bytes and no error", test.off, test.n, len(got))
		}
	}
}

func testClose(t *testing.T, s store.Store) {
	put(t, s, "a/closed", []byte("x"))
	for range 2 {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
}

func testReplace(t *testing.T, s store.Store) {
	for i, size := range []int{100, 5000, 7, 0, 33} {
		data := noise(byte(i), size)
		put(t, s, "a/replaced", data)
		wantFile(t, s, "a/replaced", data)
	}
	put(t, s, "a/replaced", noise(4, 33)) // the same again
	wantFile(t, s, "a/replaced", noise(4, 33))
	wantList(t, s, "", store.Info{Name: "a/replaced", Size: 33})
}

func testMissing(t *testing.T, s store.Store) {
	missing := func(name string) {
		t.Helper()
		if _, err := s.Get(t.Context(), name, 0, 1); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Get(%s) says %v, want fs.ErrNotExist", name, err)
		}
		if err := s.Delete(t.Context(), name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Delete(%s) says %v, want fs.ErrNotExist", name, err)
		}
	}
	missing("a") // while the store's folder is missing
	missing("a/b/c")
	put(t, s, "a/b/c", []byte("x"))
	missing("a/b/d")
	missing("a/e/c")
	if err := s.Delete(t.Context(), "a/b/c"); err != nil {
		t.Fatal(err)
	}
	missing("a/b/c")
	wantList(t, s, "")
	put(t, s, "a/b/c", []byte("y"))
	wantFile(t, s, "a/b/c", []byte("y"))
}

func testGoodNames(t *testing.T, s store.Store) {
	for _, name := range []string{
		"0", "a.b-c", "x--y..z", "con0", "d/e/f/g/h/0123456789abcdefghijklmnopqrstuvwxyz", "part/" + strings.Repeat("n", 255),
	} {
		put(t, s, name, []byte(name))
		wantFile(t, s, name, []byte(name))
		if err := s.Delete(t.Context(), name); err != nil {
			t.Error(err)
		}
	}
}

func testBadNames(t *testing.T, s store.Store) {
	put(t, s, "a/b", []byte("there"))
	bad := []string{
		".", "..", "../a/b", "a/../a/b", "a/./b", "./a/b", "/a/b", "/", "//", "a/b/", "a//b", "a/.b", ".tmp-1", "a/.tmp-1",
		"-a", "a/-b", "A/b", "a/B", "a_b", "a b", " a", `a\b`, `..\a`, "a:b", "c:a", "a\x00b", "a\nb", "é", "a*", "a%2fb",
		strings.Repeat("n", 256), "a/" + strings.Repeat("n", 256), "a\xff",
	}
	refused := func(call, name string, err error) {
		t.Helper()
		if !errors.Is(err, store.ErrBadName) {
			t.Errorf("%s(%q) says %v, want ErrBadName", call, name, err)
		}
	}
	for _, name := range append(bad, "") {
		_, err := s.Get(t.Context(), name, 0, 1)
		refused("Get", name, err)
		refused("Put", name, s.Put(t.Context(), name, []byte("x")))
		refused("Delete", name, s.Delete(t.Context(), name))
	}
	for _, dir := range bad {
		_, err := list(t.Context(), s, dir)
		refused("List", dir, err)
	}
	wantList(t, s, "", store.Info{Name: "a/b", Size: 5})
}

func testCopies(t *testing.T, s store.Store) {
	want := noise(3, 1000)
	given := slices.Clone(want)
	put(t, s, "copies", given)
	clear(given)
	wantFile(t, s, "copies", want)
	got, err := s.Get(t.Context(), "copies", 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	clear(got)
	wantFile(t, s, "copies", want)
}

func testCancelled(t *testing.T, s store.Store) {
	put(t, s, "old", []byte("old"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	want := func(call string, err error) {
		t.Helper()
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s says %v, want context.Canceled", call, err)
		}
	}
	want("Put of nothing", s.Put(ctx, "new", nil))
	want("Put", s.Put(ctx, "new/er", noise(5, 5<<20)))
	want("Put over", s.Put(ctx, "old", []byte("new")))
	want("Create", s.Create(ctx, "newer", []byte("new")))
	want("Delete", s.Delete(ctx, "old"))
	_, err := s.Get(ctx, "old", 0, 3)
	want("Get", err)
	for _, dir := range []string{"", "old", "none"} {
		_, err = list(ctx, s, dir)
		want("List", err)
	}
	wantFile(t, s, "old", []byte("old"))
	wantList(t, s, "", store.Info{Name: "old", Size: 3})
}

// testSameName has several writers put versions of one file over each other. A version is one byte repeated, a thousand
// times its value, so a reader recognizes a complete one.
func testSameName(t *testing.T, s store.Store) {
	const versions = 40
	version := func(i int) []byte { return bytes.Repeat([]byte{byte(i)}, 1000*i) }
	put(t, s, "same", version(1))
	var writers, readers sync.WaitGroup
	written := make(chan struct{})
	for w := range 4 {
		writers.Go(func() {
			for i := 1 + w; i <= versions; i += 4 {
				if err := s.Put(t.Context(), "same", version(i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 2 {
		readers.Go(func() {
			for done := false; !done; {
				select {
				case <-written:
					done = true // one final check
				default:
				}
				got, err := s.Get(t.Context(), "same", 0, 1000*versions)
				if err != nil || len(got) == 0 || !bytes.Equal(got, version(int(got[0]))) {
					t.Errorf("Get beside Puts = %d bytes that are no version, %v", len(got), err)
					return
				}
			}
		})
	}
	writers.Wait()
	close(written)
	readers.Wait()
}
