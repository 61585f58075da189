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
		return storetest.OpenLocal(t, filepath.Join(t.TempDir(), "not", "there", "yet"), nil)
	})
}

// collect returns the entries before the first error, sorted.
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
	l := storetest.OpenLocal(t, root, nil)
	wantInfos(t, "List where there is no root", l.List(t.Context(), ""))
	wantInfos(t, "Leftovers where there is no root", l.Leftovers(t.Context()))
	if _, err := os.Lstat(root); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("looking made the root: %v", err)
	}
}

func TestLocalLeftovers(t *testing.T) {
	root := t.TempDir()
	one, two, folder := ".tmp-"+strings.Repeat("0a", 16), ".tmp-"+strings.Repeat("1b", 16), ".tmp-"+strings.Repeat("2c", 16)
	write(t, root, one)
	write(t, root, "packs", "ab", two)
	write(t, root, "packs", "ab", "cd")
	write(t, root, "packs", folder, "cd")
	foreign := []string{".tmp-", ".tmp-report", one[:36], one + "0", strings.ToUpper(one), ".tmp-" + strings.Repeat("0g", 16)}
	want := []store.Info{{Name: "packs/" + folder, Odd: true}, {Name: "packs/ab/cd", Size: 7}}
	for _, name := range foreign {
		write(t, root, name)
		want = append(want, store.Info{Name: name, Odd: true})
	}
	slices.SortFunc(want, func(a, b store.Info) int { return strings.Compare(a.Name, b.Name) })
	l := storetest.OpenLocal(t, root, nil)
	wantInfos(t, "List", l.List(t.Context(), ""), want...)
	wantInfos(t, "Leftovers", l.Leftovers(t.Context()),
		store.Info{Name: one, Size: 7}, store.Info{Name: "packs/ab/" + two, Size: 7})
	if files, bytes, err := l.Sweep(t.Context(), time.Now().Add(time.Hour)); files != 2 || bytes != 14 || err != nil {
		t.Errorf("Sweep: %d files of %d bytes, %v; want the two", files, bytes, err)
	}
	for _, name := range append(foreign, "packs/"+folder+"/cd") {
		if _, err := os.Stat(filepath.Join(root, name)); err != nil {
			t.Errorf("Sweep has removed %s: %v", name, err)
		}
	}
}

func TestLocalOddNames(t *testing.T) {
	root := t.TempDir()
	write(t, root, "ok")
	write(t, root, "packs", "ABC")
	write(t, root, "packs", "a b")
	write(t, root, "packs", "ok.par")
	write(t, root, "@eadir", "ok")
	write(t, root, ".snapshot", "packs", "ok")
	wantInfos(t, "List", storetest.OpenLocal(t, root, nil).List(t.Context(), ""),
		store.Info{Name: ".snapshot", Odd: true}, store.Info{Name: "@eadir", Odd: true}, store.Info{Name: "ok", Size: 7},
		store.Info{Name: "packs/ABC", Odd: true}, store.Info{Name: "packs/a b", Odd: true}, store.Info{Name: "packs/ok.par", Size: 7})
}

func TestLocalListsHugeFolder(t *testing.T) {
	root := t.TempDir()
	for i := range 1500 { // three batches of names
		write(t, root, "packs", strings.Repeat("n", 1+i%100)+strings.Repeat("m", i/100))
	}
	infos, err := collect(t, storetest.OpenLocal(t, root, nil).List(t.Context(), "packs"))
	if err != nil || len(slices.Compact(infos)) != 1500 {
		t.Errorf("%d files listed, %v; want 1500", len(infos), err)
	}
}

func TestLocalFailedRenameLeavesNothing(t *testing.T) {
	root := t.TempDir()
	l := storetest.OpenLocal(t, root, nil)
	write(t, root, "packs", "a", "b")
	if err := l.Put(t.Context(), "packs/a", []byte("x")); err == nil {
		t.Error("Put over a folder succeeded")
	}
	wantInfos(t, "Leftovers", l.Leftovers(t.Context()))
	wantInfos(t, "List", l.List(t.Context(), ""), store.Info{Name: "packs/a/b", Size: 7})
}

func TestLocalFolders(t *testing.T) {
	root := t.TempDir()
	l := storetest.OpenLocal(t, root, nil)
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

func TestLocalFolderDisappears(t *testing.T) {
	root := filepath.Join(t.TempDir(), "root")
	l := storetest.OpenLocal(t, root, nil)
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

// TestLocalListedGoes deletes all other files at the first file that a listing yields. The listing has read their names
// by then.
func TestLocalListedGoes(t *testing.T) {
	root := t.TempDir()
	for i := range 20 {
		write(t, root, fmt.Sprintf("file%d", i))
		write(t, root, fmt.Sprintf("folder%d", i), "file")
	}
	seen := 0
	for info, err := range storetest.OpenLocal(t, root, nil).List(t.Context(), "") {
		if err != nil {
			t.Fatalf("List of what was deleted since: %v", err)
		}
		if seen++; seen > 1 {
			t.Fatalf("%s is listed, but was deleted", info.Name)
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

// own is a Layout of one file and two folders, one inside the other.
type own struct{}

func (own) Folder(name string) bool { return name == "mine" || name == "mine/too" }
func (own) File(name string) bool {
	return name == "config" || strings.HasPrefix(name, "mine/") && strings.Contains(name, "file")
}

// TestLocalAmongOthers checks that foreign files and folders are listed, but never entered or swept.
func TestLocalAmongOthers(t *testing.T) {
	root, temp := t.TempDir(), ".tmp-"+strings.Repeat("0f", 16)
	for _, name := range []string{
		"config", "note", "mine/file1", "mine/note", "mine/too/file2", "mine/theirs/file3", "theirs/a/file4",
		temp, "mine/" + temp, "mine/too/" + temp, "mine/theirs/" + temp, "theirs/" + temp,
	} {
		write(t, root, name)
	}
	l := storetest.OpenLocal(t, root, own{})
	odd := func(name string) store.Info { return store.Info{Name: name, Odd: true} }
	wantInfos(t, "List", l.List(t.Context(), ""), store.Info{Name: "config", Size: 7}, store.Info{Name: "mine/file1", Size: 7},
		store.Info{Name: "mine/note", Size: 7}, odd("mine/theirs"), store.Info{Name: "mine/too/file2", Size: 7}, odd("note"), odd("theirs"))
	wantInfos(t, "Leftovers", l.Leftovers(t.Context()),
		store.Info{Name: temp, Size: 7}, store.Info{Name: "mine/" + temp, Size: 7}, store.Info{Name: "mine/too/" + temp, Size: 7})
	if files, _, err := l.Sweep(t.Context(), time.Now().Add(time.Hour)); files != 3 || err != nil {
		t.Errorf("Sweep: %d files, %v; want three", files, err)
	}
	for _, name := range []string{"mine/theirs/" + temp, "theirs/" + temp} {
		if _, err := os.Stat(filepath.Join(root, name)); err != nil {
			t.Errorf("Sweep has removed a file of somebody else: %v", err)
		}
	}
}
