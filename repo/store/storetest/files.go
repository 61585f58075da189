package storetest

import (
	"bytes"
	"context"
	"slices"
	"testing"

	"platter/repo/store"
)

// Files returns a copy of all files of a store, by name.
func Files(t testing.TB, s store.Store) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for _, name := range Names(t, s, "") {
		files[name] = File(t, s, name)
	}
	return files
}

// File returns the bytes of one file.
func File(t testing.TB, s store.Store, name string) []byte {
	t.Helper()
	data, err := s.Get(context.Background(), name, 0, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// Names returns the sorted names of the files in a folder, or of all files for "".
func Names(t testing.TB, s store.Store, dir string) (names []string) {
	t.Helper()
	for f, err := range s.List(context.Background(), dir) {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, f.Name)
	}
	slices.Sort(names)
	return names
}

// MemOf returns a store in memory that holds copies of these files.
func MemOf(t testing.TB, files map[string][]byte) *store.Mem {
	t.Helper()
	s := new(store.Mem)
	for name, data := range files {
		put(t, s, name, data)
	}
	return s
}

// Flip flips a bit in the middle of a file, and returns the bytes before that.
func Flip(t testing.TB, s store.Store, name string) (whole []byte) {
	t.Helper()
	whole = File(t, s, name)
	bad := bytes.Clone(whole)
	bad[len(bad)/2] ^= 1
	put(t, s, name, bad)
	return whole
}

// Remove deletes files, and returns a function that puts them back.
func Remove(t testing.TB, s store.Store, names ...string) (back func()) {
	t.Helper()
	files := map[string][]byte{}
	for _, name := range names {
		files[name] = File(t, s, name)
		if err := s.Delete(context.Background(), name); err != nil {
			t.Fatal(err)
		}
	}
	return func() {
		t.Helper()
		for name, data := range files {
			put(t, s, name, data)
		}
	}
}
