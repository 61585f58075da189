package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"strings"
	"syscall"
	"testing"

	"platter/repo/store"
	"platter/repo/store/storetest"
)

const testName = "packs/ab/cd"

// twoPieces returns data that takes a Put two writes.
func twoPieces() []byte { return bytes.Repeat([]byte("bytes"), 4<<20/5+1) }

// left returns the content of a file after a power cut.
func left(t *testing.T, disk *storetest.Disk, c storetest.Cut) (data []byte, found bool) {
	t.Helper()
	data, err := store.NewLocalOn(disk.Lose(c)).Get(t.Context(), testName, 0, math.MaxInt64)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return data, err == nil
}

func temps(t *testing.T, disk *storetest.Disk) []store.Info {
	t.Helper()
	infos, err := collect(t, store.NewLocalOn(disk).Leftovers(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	return infos
}

func TestPutOrder(t *testing.T) {
	data := twoPieces()
	disk := storetest.NewDisk()
	l := store.NewLocalOn(disk)
	for _, test := range []struct {
		name string
		want []string
	}{
		{testName, []string{
			"mkdir .", "mkdir packs", "sync folder .", "mkdir packs/ab", "sync folder packs",
			"create", "write 4194304", "write 1", "sync", "close", "rename", "sync folder packs/ab",
		}},
		{"packs/ab/ef", []string{ // the folders are known by now
			"create", "write 4194304", "write 1", "sync", "close", "rename", "sync folder packs/ab",
		}},
	} {
		before := len(disk.Calls())
		if err := l.Put(t.Context(), test.name, data); err != nil {
			t.Fatal(err)
		}
		if got, want := strings.Join(disk.Calls()[before:], ", "), strings.Join(test.want, ", "); got != want {
			t.Errorf("Put of %s calls\n%s, want\n%s", test.name, got, want)
		}
	}
	before := len(disk.Calls())
	if err := l.Move(t.Context(), testName, "packs/cd"); err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(disk.Calls()[before:], ", "), "rename, sync folder packs, sync folder packs/ab"; got != want {
		t.Errorf("Move calls %s, want %s", got, want)
	}
	before = len(disk.Calls())
	if err := l.Delete(t.Context(), "packs/cd"); err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(disk.Calls()[before:], ", "), "remove, sync folder packs"; got != want {
		t.Errorf("Delete calls %s, want %s", got, want)
	}
}

// failing returns a store on a disk that holds an old file unless old is empty. Its call i from now on fails, and with
// crash all later ones. reached reports whether the store has made that call.
func failing(t *testing.T, disk *storetest.Disk, old string, i int, crash bool) (l *store.Local, reached func() bool) {
	t.Helper()
	l = store.NewLocalOn(disk)
	if old != "" {
		if err := l.Put(t.Context(), testName, []byte(old)); err != nil {
			t.Fatal(err)
		}
		l = store.NewLocalOn(disk)
	}
	failed := len(disk.Calls()) + i
	disk.Fail = func(call int, _ string) error {
		if call == failed || crash && call > failed {
			return syscall.EIO
		}
		return nil
	}
	return l, func() bool { return len(disk.Calls()) > failed }
}

// TestPutEveryCall fails each call of a Put in turn, alone or with all later ones (a crash), over nothing or over an
// older file. It checks Put's promise against what a power cut would then leave.
func TestPutEveryCall(t *testing.T) {
	data := twoPieces()
	for _, old := range []string{"", "old"} {
		for _, crash := range []bool{false, true} {
			for i := 0; failCall(t, old, data, i, crash); i++ {
			}
		}
	}
}

// failCall reports whether the Put reached call i.
func failCall(t *testing.T, old string, data []byte, i int, crash bool) bool {
	where := fmt.Sprintf("old %q, call %d failed (crash: %t)", old, i, crash)
	disk := storetest.NewDisk()
	l, called := failing(t, disk, old, i, crash)
	err := l.Put(t.Context(), testName, data)
	reached := called()
	if reached != errors.Is(err, syscall.EIO) {
		t.Errorf("%s: Put says %v", where, err)
	}
	for c := range storetest.Cuts {
		got, found := left(t, disk, c)
		isNew, isOld := found && bytes.Equal(got, data), found == (old != "") && string(got) == old
		if !isNew && (err == nil || !isOld) {
			t.Errorf("%s: Put says %v, and a power cut (%v) leaves %d bytes (found: %t)", where, err, c, len(got), found)
		}
	}
	if !reached {
		return false
	}
	if temps := temps(t, disk); !crash && len(temps) > 0 {
		t.Errorf("%s: %v is left over", where, temps)
	}
	disk.Fail = nil
	if err := l.Put(t.Context(), testName, data); err != nil {
		t.Errorf("%s: the next Put says %v", where, err)
	}
	if got, _ := left(t, disk, storetest.Lost); !bytes.Equal(got, data) {
		t.Errorf("%s: the next Put says all is well, but %d bytes survive a power cut", where, len(got))
	}
	return true
}

// TestMoveEveryCall fails each call of a Move between folders in turn, alone or with all later ones. After a power cut
// the file is complete, under one name or both. After a successful Move it is only under the new one.
func TestMoveEveryCall(t *testing.T) {
	for _, crash := range []bool{false, true} {
		for i, reached := 0, true; reached; i++ {
			disk := storetest.NewDisk()
			l, called := failing(t, disk, "data", i, crash)
			err := l.Move(t.Context(), testName, "bin/ab/cd")
			if reached = called(); reached != errors.Is(err, syscall.EIO) {
				t.Errorf("call %d failed (crash: %t): Move says %v", i, crash, err)
			}
			for c := range storetest.Cuts {
				s := store.NewLocalOn(disk.Lose(c))
				old, oldErr := s.Get(t.Context(), testName, 0, 9)
				fresh, newErr := s.Get(t.Context(), "bin/ab/cd", 0, 9)
				if string(old) != "data" && string(fresh) != "data" || err == nil && (oldErr == nil || newErr != nil) {
					t.Errorf("call %d failed (crash: %t): Move says %v, and a power cut (%v) leaves %q and %q", i, crash, err, c, old, fresh)
				}
			}
		}
	}
}

// A waning is a context that is cancelled after left calls of Err.
type waning struct {
	context.Context
	left int
}

func (w *waning) Err() error {
	if w.left--; w.left < 0 {
		return context.Canceled
	}
	return nil
}

func TestPutCancelledHalfWay(t *testing.T) {
	for asked := 0; ; asked++ {
		disk := storetest.NewDisk()
		err := store.NewLocalOn(disk).Put(&waning{t.Context(), asked}, testName, twoPieces())
		if err == nil {
			if asked < 2 {
				t.Errorf("a Put of two pieces asked its context %d times", asked)
			}
			return
		}
		_, found := left(t, disk, storetest.Kept)
		if temps := temps(t, disk); !errors.Is(err, context.Canceled) || len(temps) > 0 || found {
			t.Errorf("cancelled when asked for the %d. time: Put says %v and leaves %v (the file: %t)", asked, err, temps, found)
		}
	}
}

// testFull fills the disk in the middle of a Put, with each of the system's errors for it.
func testFull(t *testing.T, fulls ...error) {
	for _, full := range fulls {
		disk := storetest.NewDisk()
		disk.Fail = func(_ int, what string) error {
			if strings.HasPrefix(what, "write") {
				return &fs.PathError{Op: "write", Path: "x", Err: full}
			}
			return nil
		}
		err := store.NewLocalOn(disk).Put(t.Context(), testName, twoPieces())
		if !errors.Is(err, store.ErrFull) || !errors.Is(err, full) {
			t.Errorf("Put on a full disk says %v, want ErrFull and %v", err, full)
		}
	}
}
