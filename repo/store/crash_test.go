package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"syscall"
	"testing"
)

const testName = "packs/ab/cd"

// twoPieces is what a Put needs two writes for.
func twoPieces() []byte { return bytes.Repeat([]byte("bytes"), pieceSize/5+1) }

func TestPutOrder(t *testing.T) {
	data := twoPieces()
	disk := newForgetful()
	l := &Local{fs: disk}
	for _, test := range []struct {
		name string
		want []string
	}{
		{testName, []string{
			"mkdir .", "mkdir packs", "sync folder .", "mkdir packs/ab", "sync folder packs",
			"create", "write 4194304", "write 1", "sync", "close", "rename", "sync folder packs/ab",
		}},
		{"packs/ab/ef", []string{ // the folders are known now
			"create", "write 4194304", "write 1", "sync", "close", "rename", "sync folder packs/ab",
		}},
	} {
		disk.calls = nil
		if err := l.Put(t.Context(), test.name, data); err != nil {
			t.Fatal(err)
		}
		if got, want := strings.Join(disk.calls, ", "), strings.Join(test.want, ", "); got != want {
			t.Errorf("Put of %s calls\n%s, want\n%s", test.name, got, want)
		}
	}
	disk.calls = nil
	if err := l.Delete(t.Context(), testName); err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(disk.calls, ", "), "remove, sync folder packs/ab"; got != want {
		t.Errorf("Delete calls %s, want %s", got, want)
	}
}

// TestPutEveryCall fails every call of a Put in turn, alone or with all that follow (a crash), over nothing or over an
// older file, and holds what a power cut would then leave to the promise.
func TestPutEveryCall(t *testing.T) {
	data := twoPieces()
	for _, old := range []string{"", "old"} {
		for _, crash := range []bool{false, true} {
			for i := 0; failCall(t, old, data, i, crash); i++ {
			}
		}
	}
}

// failCall tells whether the Put came as far as call i.
func failCall(t *testing.T, old string, data []byte, i int, crash bool) bool {
	where := fmt.Sprintf("old %q, call %d failed (crash: %t)", old, i, crash)
	disk := newForgetful()
	l := &Local{fs: disk}
	if old != "" {
		if err := l.Put(t.Context(), testName, []byte(old)); err != nil {
			t.Fatal(err)
		}
		l = &Local{fs: disk}
	}
	first := len(disk.calls)
	disk.fail = func(call int) error {
		if call == first+i || crash && call > first+i {
			return syscall.EIO
		}
		return nil
	}
	err := l.Put(t.Context(), testName, data)
	reached := len(disk.calls) > first+i
	if reached != errors.Is(err, syscall.EIO) {
		t.Errorf("%s: Put says %v", where, err)
	}
	for _, left := range []func(string) ([]byte, bool){disk.afterPowerCut, disk.afterHalfAPowerCut} {
		got, found := left(testName)
		isNew, isOld := found && bytes.Equal(got, data), found == (old != "") && string(got) == old
		if !isNew && (err == nil || !isOld) {
			t.Errorf("%s: Put says %v, and a power cut leaves %d bytes (found: %t)", where, err, len(got), found)
		}
	}
	if !reached {
		return false
	}
	if temps := disk.temps(); !crash && len(temps) > 0 {
		t.Errorf("%s: %v is left over", where, temps)
	}
	disk.fail = func(int) error { return nil }
	if err := l.Put(t.Context(), testName, data); err != nil {
		t.Errorf("%s: the next Put says %v", where, err)
	}
	if got, _ := disk.afterPowerCut(testName); !bytes.Equal(got, data) {
		t.Errorf("%s: the next Put says all is well, but %d bytes survive a power cut", where, len(got))
	}
	return true
}

// waning is a context that is cancelled after it was asked so many times.
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
		disk := newForgetful()
		err := (&Local{fs: disk}).Put(&waning{t.Context(), asked}, testName, twoPieces())
		if err == nil {
			if asked < 2 {
				t.Errorf("a Put of two pieces asked its context %d times", asked)
			}
			return
		}
		if temps := disk.temps(); !errors.Is(err, context.Canceled) || len(temps) > 0 || disk.now[testName] != nil {
			t.Errorf("cancelled when asked for the %d. time: Put says %v and leaves %v", asked, err, disk.now)
		}
	}
}

// testFull has the disk fill up in the middle of a Put, in each of a system's words for it.
func testFull(t *testing.T, fulls ...error) {
	for _, full := range fulls {
		disk := newForgetful()
		disk.fail = func(call int) error {
			if strings.HasPrefix(disk.calls[call], "write") {
				return &fs.PathError{Op: "write", Path: "x", Err: full}
			}
			return nil
		}
		err := (&Local{fs: disk}).Put(t.Context(), testName, twoPieces())
		if !errors.Is(err, ErrFull) || !errors.Is(err, full) {
			t.Errorf("Put on a full disk says %v, want ErrFull and %v", err, full)
		}
	}
}

func TestMakeRoot(t *testing.T) {
	for _, test := range []struct {
		root string
		want string
		err  error
	}{
		{"/nas/a/b", "mkdir /nas/a, sync /nas, mkdir /nas/a/b, sync /nas/a", nil},
		{"/nas/a/b/", "mkdir /nas/a, sync /nas, mkdir /nas/a/b/, sync /nas/a", nil},
		{"/nas/a", "mkdir /nas/a, sync /nas", nil},
		{"/nas", "", fs.ErrExist},
		{"/", "", fs.ErrExist},
		{"a", "mkdir a, sync .", nil},
		{"", "", fs.ErrNotExist},
	} {
		made := map[string]bool{"/": true, "/nas": true, ".": true}
		var calls []string
		err := makeRoot(test.root, func(dir string) error {
			if made[path.Clean(dir)] && dir != "" {
				return fs.ErrExist
			}
			if !made[path.Dir(path.Clean(dir))] || dir == "" {
				return fs.ErrNotExist
			}
			made[path.Clean(dir)] = true
			calls = append(calls, "mkdir "+dir)
			return nil
		}, func(dir string) error {
			calls = append(calls, "sync "+dir)
			return nil
		})
		if got := strings.Join(calls, ", "); got != test.want || !errors.Is(err, test.err) {
			t.Errorf("makeRoot(%q) calls %s and says %v, want %s and %v", test.root, got, err, test.want, test.err)
		}
	}
}
