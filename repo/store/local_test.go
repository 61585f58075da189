package store_test

import (
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"platter/repo/store"
	"platter/repo/store/storetest"
)

func TestLocal(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store {
		return store.NewLocal(filepath.Join(t.TempDir(), "not", "there", "yet"))
	})
}

// collect returns what was yielded before the first error, sorted.
func collect(t *testing.T, infos iter.Seq2[store.Info, error]) (found []store.Info, err error) {
	t.Helper()
	for info, err := range infos {
		if err != nil {
			return found, err
		}
		info.ModTime = time.Time{}
		found = append(found, info)
	}
	slices.SortFunc(found, func(a, b store.Info) int { return strings.Compare(a.Name, b.Name) })
	return found, nil
}

func wantInfos(t *testing.T, what string, infos iter.Seq2[store.Info, error], want ...store.Info) {
	t.Helper()
	got, err := collect(t, infos)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%s = %+v, %v; want %+v", what, got, err, want)
	}
}

func write(t *testing.T, parts ...string) {
	t.Helper()
	name := filepath.Join(parts...)
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte("1234567"), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestNewLocalTouchesNothing(t *testing.T) {
	root := filepath.Join(t.TempDir(), "root")
	l := store.NewLocal(root)
	wantInfos(t, "List where there is no root", l.List(t.Context(), ""))
	wantInfos(t, "Leftovers where there is no root", l.Leftovers(t.Context()))
	if _, err := os.Lstat(root); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("looking made the root: %v", err)
	}
}

func TestLocalLeftovers(t *testing.T) {
	root := t.TempDir()
	write(t, root, ".tmp-0123")
	write(t, root, "packs", "ab", ".tmp-4567")
	write(t, root, "packs", "ab", "cd")
	write(t, root, "packs", ".tmp-folder", "cd")
	l := store.NewLocal(root)
	wantInfos(t, "List", l.List(t.Context(), ""),
		store.Info{Name: "packs/.tmp-folder", Odd: true}, store.Info{Name: "packs/ab/cd", Size: 7})
	wantInfos(t, "Leftovers", l.Leftovers(t.Context()),
		store.Info{Name: ".tmp-0123", Size: 7}, store.Info{Name: "packs/ab/.tmp-4567", Size: 7})
}

func TestLocalOddNames(t *testing.T) {
	root := t.TempDir()
	write(t, root, "ok")
	write(t, root, "packs", "ABC")
	write(t, root, "packs", "a b")
	write(t, root, "packs", "ok.par")
	write(t, root, "@eadir", "ok")
	write(t, root, ".snapshot", "packs", "ok")
	wantInfos(t, "List", store.NewLocal(root).List(t.Context(), ""),
		store.Info{Name: ".snapshot", Odd: true}, store.Info{Name: "@eadir", Odd: true}, store.Info{Name: "ok", Size: 7},
		store.Info{Name: "packs/ABC", Odd: true}, store.Info{Name: "packs/a b", Odd: true}, store.Info{Name: "packs/ok.par", Size: 7})
}

func TestLocalListsHugeFolder(t *testing.T) {
	root := t.TempDir()
	for i := range 1500 { // three batches of names
		write(t, root, "packs", strings.Repeat("n", 1+i%100)+strings.Repeat("m", i/100))
	}
	infos, err := collect(t, store.NewLocal(root).List(t.Context(), "packs"))
	if err != nil || len(slices.Compact(infos)) != 1500 {
		t.Errorf("%d files listed, %v; want 1500", len(infos), err)
	}
}

func TestLocalFailedRenameLeavesNothing(t *testing.T) {
	root := t.TempDir()
	l := store.NewLocal(root)
	write(t, root, "packs", "a", "b")
	if err := l.Put(t.Context(), "packs/a", []byte("x")); err == nil {
		t.Error("Put over a folder succeeded")
	}
	wantInfos(t, "Leftovers", l.Leftovers(t.Context()))
	wantInfos(t, "List", l.List(t.Context(), ""), store.Info{Name: "packs/a/b", Size: 7})
}

func TestLocalFolders(t *testing.T) {
	root := t.TempDir()
	l := store.NewLocal(root)
	if err := os.MkdirAll(filepath.Join(root, "packs", "empty"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := l.Delete(t.Context(), "packs/empty"); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Delete of an empty folder says %v", err)
	}
	if _, err := l.Get(t.Context(), "packs/empty", 0, 1); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Get of a folder says %v", err)
	}
	write(t, root, "file")
	if infos, err := collect(t, l.List(t.Context(), "file")); err == nil {
		t.Errorf("List of a file = %v; it must not look like an empty folder", infos)
	}
}

func TestLocalFolderVanishes(t *testing.T) {
	root := filepath.Join(t.TempDir(), "root")
	l := store.NewLocal(root)
	for _, gone := range []string{"packs/ab", "packs", "."} {
		for range 2 {
			if err := l.Put(t.Context(), "packs/ab/cd", []byte("x")); err != nil {
				t.Fatalf("after %s went away: %v", gone, err)
			}
		}
		if err := os.RemoveAll(filepath.Join(root, gone)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestLocalListedGoes deletes, at the first file that a listing yields, all the others: their names are read by then.
func TestLocalListedGoes(t *testing.T) {
	root := t.TempDir()
	for i := range 20 {
		write(t, root, fmt.Sprintf("file%d", i))
		write(t, root, fmt.Sprintf("folder%d", i), "file")
	}
	seen := 0
	for info, err := range store.NewLocal(root).List(t.Context(), "") {
		if err != nil {
			t.Fatalf("List of what has gone since: %v", err)
		}
		if seen++; seen > 1 {
			t.Fatalf("%s is listed, but has gone", info.Name)
		}
		entries, err := os.ReadDir(root)
		if err != nil {
			t.Fatal(err)
		}
		for _, entry := range entries {
			if err := os.RemoveAll(filepath.Join(root, entry.Name())); err != nil {
				t.Fatal(err)
			}
		}
	}
}
