package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"platter/repo/store"
	"platter/repo/store/storetest"
)

// TestCreateOnOneFolder has several Local stores, as of several machines, create files in one folder.
func TestCreateOnOneFolder(t *testing.T) {
	root := t.TempDir()
	var stores []store.Store
	for range 4 {
		stores = append(stores, storetest.OpenLocal(t, root, nil))
	}
	storetest.RunShared(t, stores...)
	wantInfos(t, "Leftovers", storetest.OpenLocal(t, root, nil).Leftovers(t.Context()))
}

// TestCreateWithoutLinks does the same on a file system without hard links.
func TestCreateWithoutLinks(t *testing.T) {
	storetest.Run(t, func(*testing.T) store.Store {
		disk := storetest.NewDisk()
		disk.NoLinks = true
		return store.NewLocalOn(disk)
	})
	disk := storetest.NewDisk()
	disk.NoLinks = true
	storetest.RunShared(t, store.NewLocalOn(disk), store.NewLocalOn(disk), store.NewLocalOn(disk))
	if left := temps(t, disk); len(left) > 0 {
		t.Errorf("%v are left over", left)
	}
}

func TestCreateOrder(t *testing.T) {
	for _, test := range []struct {
		noLinks bool
		want    string
	}{
		{false, "create, write 1, sync, close, link, sync folder packs/ab, remove"},
		{true, "create, write 1, sync, close, link, remove, create, write 1, sync, close, sync folder packs/ab"},
	} {
		disk := storetest.NewDisk()
		disk.NoLinks = test.noLinks
		l := store.NewLocalOn(disk)
		if err := l.Put(t.Context(), "packs/ab/other", nil); err != nil {
			t.Fatal(err)
		}
		before := len(disk.Calls())
		if err := l.Create(t.Context(), testName, []byte("x")); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(disk.Calls()[before:], ", "); got != test.want {
			t.Errorf("without links %t: Create calls\n%s, want\n%s", test.noLinks, got, test.want)
		}
	}
}

// TestCreateEveryCall fails each call of a Create in turn, alone or with all later ones (a crash), with the name free
// or taken. A power cut then leaves all of the file or nothing, and all after a successful Create. Only without hard
// links, and only after a crash, may a partial file remain.
func TestCreateEveryCall(t *testing.T) {
	for _, noLinks := range []bool{false, true} {
		for _, old := range []string{"", "old"} {
			for _, crash := range []bool{false, true} {
				for i := 0; failCreate(t, noLinks, old, i, crash); i++ {
				}
			}
		}
	}
}

// failCreate reports whether the Create reached call i.
func failCreate(t *testing.T, noLinks bool, old string, i int, crash bool) bool {
	where := fmt.Sprintf("without links %t, old %q, call %d failed (crash: %t)", noLinks, old, i, crash)
	data := twoPieces()
	disk := storetest.NewDisk()
	disk.NoLinks = noLinks
	l, called := failing(t, disk, old, i, crash)
	err := l.Create(t.Context(), testName, data)
	reached := called()
	switch {
	case old != "" && err == nil:
		t.Errorf("%s: it took a name that is taken", where)
	case !reached && old == "" && err != nil, !reached && old != "" && !errors.Is(err, fs.ErrExist):
		t.Errorf("%s: Create says %v", where, err)
	}
	for c := range storetest.Cuts {
		got, found := left(t, disk, c)
		whole, none := found && bytes.Equal(got, data), !found
		switch {
		case old != "":
			if string(got) != old {
				t.Errorf("%s: a power cut (%v) leaves %d bytes of what was there", where, c, len(got))
			}
		case err == nil && !whole, !whole && !none && !noLinks:
			t.Errorf("%s: Create says %v, and a power cut (%v) leaves %d bytes (found: %t)", where, err, c, len(got), found)
		}
	}
	// After an error the file may be complete, but never partial if the process survived.
	if got, found := left(t, disk, storetest.Kept); old == "" && !crash && found && !bytes.Equal(got, data) {
		t.Errorf("%s: %d bytes are left", where, len(got))
	}
	return reached
}

// TestCreateFull fills the disk in the middle of a Create: the name stays free.
func TestCreateFull(t *testing.T) {
	for _, noLinks := range []bool{false, true} {
		disk := storetest.NewDisk()
		disk.NoLinks = noLinks
		writes := 0
		disk.Fail = func(_ int, what string) error {
			if strings.HasPrefix(what, "write") {
				if writes++; !noLinks || writes == 4 { // in the second attempt, in place
					return syscall.ENOSPC
				}
			}
			return nil
		}
		l := store.NewLocalOn(disk)
		if err := l.Create(t.Context(), testName, twoPieces()); !errors.Is(err, store.ErrFull) {
			t.Errorf("without links %t: Create on a full disk says %v, want ErrFull", noLinks, err)
		}
		disk.Fail = nil
		if err := l.Create(t.Context(), testName, twoPieces()); err != nil || len(temps(t, disk)) > 0 {
			t.Errorf("without links %t: after there is room again: %v; %v is left over", noLinks, err, temps(t, disk))
		}
	}
}
