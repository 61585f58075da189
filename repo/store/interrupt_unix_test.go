//go:build unix

package store_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"platter/repo/store"
	"platter/repo/store/storetest"
)

// A jittery is a file system that returns EINTR for some calls, as CIFS and FUSE do: before or after it does the call.
type jittery struct {
	store.FileSystem
	call  int
	fails func(call int) bool
	after bool // EINTR comes after the call is done
}

func (j *jittery) do(call func() error) error {
	fails := j.fails(j.call)
	j.call++
	if fails && !j.after {
		return &fs.PathError{Op: "call", Path: "x", Err: unix.EINTR}
	}
	err := call()
	if fails && err == nil {
		return &fs.PathError{Op: "call", Path: "x", Err: unix.EINTR}
	}
	return err
}

func (j *jittery) Mkdir(dir string) error {
	return j.do(func() error { return j.FileSystem.Mkdir(dir) })
}

func (j *jittery) Create(name string) (f store.File, err error) {
	err = j.do(func() (err error) {
		f, err = j.FileSystem.Create(name)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &jitteryFile{f, j}, nil
}

func (j *jittery) Rename(from, to string) error {
	return j.do(func() error { return j.FileSystem.Rename(from, to) })
}

func (j *jittery) Link(from, to string) error {
	return j.do(func() error { return j.FileSystem.Link(from, to) })
}

func (j *jittery) Touch(name string) error {
	return j.do(func() error { return j.FileSystem.Touch(name) })
}

func (j *jittery) Remove(name string) error {
	return j.do(func() error { return j.FileSystem.Remove(name) })
}

func (j *jittery) SyncFolder(dir string) error {
	return j.do(func() error { return j.FileSystem.SyncFolder(dir) })
}

func (j *jittery) Open(name string) (f store.OpenFile, n int64, err error) {
	err = j.do(func() (err error) {
		f, n, err = j.FileSystem.Open(name)
		return err
	})
	return f, n, err
}

func (j *jittery) List(ctx context.Context, dir string, temps bool) iter.Seq2[store.Info, error] {
	return j.FileSystem.List(ctx, dir, temps)
}

type jitteryFile struct {
	store.File
	j *jittery
}

func (f *jitteryFile) Write(p []byte) (n int, err error) {
	err = f.j.do(func() (err error) {
		n, err = f.File.Write(p)
		return err
	})
	return n, err
}

func (f *jitteryFile) Sync() error { return f.j.do(f.File.Sync) }

// Close always closes, as Linux does.
func (f *jitteryFile) Close() error {
	closed := false
	err := f.j.do(func() error {
		closed = true
		return f.File.Close()
	})
	if !closed {
		f.File.Close()
	}
	return err
}

// useStore makes every store call that can be interrupted. It returns an error for each result that differs from that
// of an uninterrupted call.
func useStore(t *testing.T, l *store.Local) error {
	ctx := t.Context()
	var errs []error
	hold := func(what string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", what, err))
		}
	}
	hold("put", l.Put(ctx, "packs/ab/one", []byte("one")))
	hold("put over", l.Put(ctx, "packs/ab/one", []byte("two")))
	hold("create", l.Create(ctx, "packs/ab/new", []byte("new")))
	if err := l.Create(ctx, "packs/ab/new", []byte("other")); !errors.Is(err, fs.ErrExist) {
		errs = append(errs, fmt.Errorf("created again: %v", err))
	}
	if data, err := l.Get(ctx, "packs/ab/new", 0, 9); err != nil || string(data) != "new" {
		errs = append(errs, fmt.Errorf("created %q, %v", data, err))
	}
	if err := l.Delete(ctx, "packs/ab/new"); !errors.Is(err, fs.ErrNotExist) {
		hold("delete what was created", err)
	}
	hold("touch", l.Touch(ctx, "packs/ab/one"))
	data, err := l.Get(ctx, "packs/ab/one", 0, 9)
	if hold("get", err); string(data) != "two" {
		errs = append(errs, fmt.Errorf("got %q", data))
	}
	// If the answer to the last step of a Move or Delete was lost, the caller can only know that the file is missing.
	if err := l.Move(ctx, "packs/ab/one", "index/one"); !errors.Is(err, fs.ErrNotExist) {
		hold("move", err)
	}
	data, err = l.Get(ctx, "index/one", 0, 9)
	if hold("get what was moved", err); string(data) != "two" {
		errs = append(errs, fmt.Errorf("got %q after the move", data))
	}
	if err := l.Delete(ctx, "index/one"); !errors.Is(err, fs.ErrNotExist) {
		hold("delete", err)
	}
	for _, seq := range []iter.Seq2[store.Info, error]{l.List(ctx, ""), l.Leftovers(ctx)} {
		for info, err := range seq {
			errs = append(errs, fmt.Errorf("listed %s, %w", info.Name, errors.Join(errors.New("it should be missing"), err)))
		}
	}
	return errors.Join(errs...)
}

// TestInterrupted interrupts each call once, and then every nth call.
func TestInterrupted(t *testing.T) {
	for _, after := range []bool{false, true} {
		try := func(what string, fails func(int) bool) int {
			t.Helper()
			j := &jittery{FileSystem: storetest.NewDisk(), fails: fails, after: after}
			if err := useStore(t, store.NewLocalOn(j)); err != nil {
				t.Errorf("%s, after %v: %v", what, after, err)
			}
			return j.call
		}
		calls := try("nothing interrupted", func(int) bool { return false })
		if calls < 20 {
			t.Fatalf("%d calls", calls)
		}
		for i := range calls {
			try(fmt.Sprintf("call %d of %d", i, calls), func(call int) bool { return call == i })
		}
		for n := 2; n < 12; n++ {
			// A Put makes more than n calls, and starts again if one of some kinds is unclear.
			if after && n < 5 {
				continue
			}
			try(fmt.Sprintf("one call in %d", n), func(call int) bool { return call%n == 1 })
		}
	}
}

// TestMoveLost checks an interrupted Move of a file that another process deletes meanwhile: the Move must not succeed.
func TestMoveLost(t *testing.T) {
	disk := storetest.NewDisk()
	l := store.NewLocalOn(disk)
	if err := l.Put(t.Context(), "work/one", []byte("one")); err != nil {
		t.Fatal(err)
	}
	if err := l.Put(t.Context(), "index/one", []byte("before")); err != nil {
		t.Fatal(err)
	}
	j := &jittery{FileSystem: disk}
	j.fails = func(call int) bool {
		if call != 2 { // earlier calls created and synced the folder
			return false
		}
		if err := l.Delete(t.Context(), "work/one"); err != nil {
			t.Fatal(err)
		}
		return true
	}
	if err := store.NewLocalOn(j).Move(t.Context(), "work/one", "index/one"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a move of nothing: %v", err)
	}
	if data, err := l.Get(t.Context(), "index/one", 0, 9); string(data) != "before" {
		t.Errorf("%q, %v", data, err)
	}
}

// TestNoSync uses file systems without syncs of files, of folders, or of both. They are usable, with one warning. A
// sync that fails is still an error.
func TestNoSync(t *testing.T) {
	for _, code := range []unix.Errno{unix.EINVAL, unix.ENOTSUP, unix.EOPNOTSUPP, unix.ENOSYS, unix.ENOTTY} {
		for _, of := range []string{"sync", "sync folder", ""} {
			disk := storetest.NewDisk()
			disk.Fail = func(_ int, what string) error {
				if call, _, _ := strings.Cut(what, " folder"); call == "sync" && (of == "" || (of == "sync") == (what == "sync")) {
					return &fs.PathError{Op: "sync", Path: what, Err: code}
				}
				return nil
			}
			var warnings []string
			l := store.NewLocalOn(disk)
			l.Warn(func(text string) { warnings = append(warnings, text) })
			if err := useStore(t, l); err != nil {
				t.Errorf("%q answers %v: %v", of, code, err)
			}
			if len(warnings) != 1 || !strings.Contains(warnings[0], "fsync") {
				t.Errorf("%q answers %v: warnings %q, want one of fsync", of, code, warnings)
			}
		}
	}
	for _, code := range []unix.Errno{unix.EIO, unix.ENOSPC, unix.EDQUOT, unix.EROFS} {
		disk := storetest.NewDisk()
		disk.Fail = func(_ int, what string) error {
			if what == "sync" {
				return &fs.PathError{Op: "sync", Path: what, Err: code}
			}
			return nil
		}
		l := store.NewLocalOn(disk)
		l.Warn(func(text string) { t.Errorf("%v: %s", code, text) })
		if err := l.Put(t.Context(), "a", []byte("a")); !errors.Is(err, code) {
			t.Errorf("a put whose sync returns %v: %v", code, err)
		}
		if n := len(slices.DeleteFunc(disk.Calls(), func(call string) bool { return call != "sync" })); n != 1 {
			t.Errorf("a sync that failed was tried %d times", n)
		}
	}
}
