package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"testing"

	"platter/repo/store"
)

func testCreate(t *testing.T, s store.Store) {
	want := func(name string, data []byte, want error) {
		t.Helper()
		if err := s.Create(t.Context(), name, data); !errors.Is(err, want) {
			t.Fatalf("Create(%q) says %v, want %v", name, err, want)
		}
	}
	// The first one, while the store's folder is missing.
	for i, name := range []string{"made", "a/b/made", "a/b/again", "empty"} {
		data := noise(byte(i), 5000*(3-i))
		given := bytes.Clone(data)
		want(name, given, nil)
		clear(given)
		want(name, noise(9, 7), fs.ErrExist)
		want(name, data, fs.ErrExist) // an error even for the same bytes
		wantFile(t, s, name, data)
	}
	wantList(t, s, "a", store.Info{Name: "a/b/made", Size: 10000}, store.Info{Name: "a/b/again", Size: 5000})

	put(t, s, "put", []byte("put"))
	want("put", []byte("created"), fs.ErrExist)
	wantFile(t, s, "put", []byte("put"))
	put(t, s, "made", []byte("put over")) // a created file is a file like any other
	wantFile(t, s, "made", []byte("put over"))
	if err := s.Move(t.Context(), "made", "moved"); err != nil {
		t.Fatal(err)
	}
	want("moved", nil, fs.ErrExist)
	want("made", []byte("again"), nil)
	if err := s.Delete(t.Context(), "made"); err != nil {
		t.Fatal(err)
	}
	want("made", []byte("once more"), nil)
	wantFile(t, s, "made", []byte("once more"))
	for _, name := range []string{"", "../a", ".tmp-1", "a/", "A"} {
		want(name, nil, store.ErrBadName)
	}
}

// testCreateAtOnce creates each of some files many times at once. Exactly one call succeeds, the others return
// fs.ErrExist, and the file holds the winner's bytes.
func testCreateAtOnce(t *testing.T, s store.Store) { createAtOnce(t, s) }

// createAtOnce spreads 16 goroutines over stores that must be views of the same files.
func createAtOnce(t *testing.T, stores ...store.Store) {
	const files, each = 20, 16
	for f := range files {
		name := fmt.Sprintf("contended/%d", f)
		var errs [each]error
		var all sync.WaitGroup
		start := make(chan struct{})
		for i := range errs {
			all.Go(func() {
				<-start
				errs[i] = stores[i%len(stores)].Create(t.Context(), name, noise(byte(i), 3000+i))
			})
		}
		close(start)
		all.Wait()
		winner := -1
		for i, err := range errs {
			switch {
			case err == nil && winner < 0:
				winner = i
			case err == nil:
				t.Fatalf("%s: both %d and %d report that they made it", name, winner, i)
			case !errors.Is(err, fs.ErrExist):
				t.Fatalf("%s: who came late says %v, want fs.ErrExist", name, err)
			}
		}
		if winner < 0 {
			t.Fatalf("%s: no caller made it", name)
		}
		wantFile(t, stores[0], name, noise(byte(winner), 3000+winner))
	}
}

// RunShared tests the promises of Store between several machines. The stores must be views of the same files.
func RunShared(t *testing.T, stores ...store.Store) { createAtOnce(t, stores...) }
