package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"strings"
	"time"
)

// listBatch is how many names are read from a folder at a time: a folder of a million packs must not fill the memory.
const listBatch = 512

// List yields everything below dir. A folder with an invalid name, or one that is not in the Layout, is one Odd entry
// and is not entered. It may be the NAS's own (.snapshot, @eaDir, lost+found), unreadable, or as large as the store. If
// one of the store's own folders cannot be read, the listing ends with an error. The name of an Odd entry may contain
// any bytes: quote it before you print it on a terminal.
func (l *Local) List(ctx context.Context, dir string) iter.Seq2[Info, error] {
	if err := checkDir(dir); err != nil {
		return func(yield func(Info, error) bool) { yield(Info{}, fmt.Errorf("list %q: %w", dir, err)) }
	}
	return l.at(ctx).List(ctx, dir, false)
}

// Leftovers yields the temporary files in the store's folders, of running Puts and of killed ones. Nothing in the store
// tells the two apart; only their age or a lease can. They are regular files with names of the form that writeTemp
// uses.
func (l *Local) Leftovers(ctx context.Context) iter.Seq2[Info, error] {
	return l.at(ctx).List(ctx, "", true)
}

func (o osFiles) List(ctx context.Context, dir string, temps bool) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		o.walk(&walk{ctx: ctx, yield: yield, own: o.own, temps: temps, retryPolicy: defaultRetryPolicy()}, dir)
	}
}

// A Sweeper is a store that can remove the temporary files that crashes left.
type Sweeper interface {
	// Sweep removes temporary files last written before a time, by the store's clock. It returns their number and
	// bytes, even with an error.
	Sweep(ctx context.Context, before time.Time) (files int, bytes int64, err error)
}

var _ Sweeper = (*Local)(nil)

// Sweep removes temporary files last written before a time, by the store's clock, and counts them.
func (l *Local) Sweep(ctx context.Context, before time.Time) (files int, bytes int64, err error) {
	for f, err := range l.Leftovers(ctx) {
		if err != nil {
			return files, bytes, err
		}
		if f.Odd || !f.ModTime.Before(before) {
			continue
		}
		if err := l.at(ctx).Remove(f.Name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return files, bytes, fmt.Errorf("sweep %s: %w", f.Name, err)
		}
		files, bytes = files+1, bytes+f.Size
	}
	return files, bytes, nil
}

// walk is a running listing. Its methods return false when it ends.
type walk struct {
	ctx   context.Context
	yield func(Info, error) bool
	own   Layout
	temps bool // yield temporary files instead of all others
	retryPolicy
}

// try retries a call if that helps. os retries most calls by itself, but not Lstat in a Root.
func (w *walk) try(call func() error) error {
	_, err := w.do(w.ctx, call)
	return err
}

func (o osFiles) walk(w *walk, dir string) {
	if err := w.ctx.Err(); err != nil {
		w.fail(dir, err)
		return
	}
	var root *os.Root
	err := w.try(func() (err error) {
		root, err = os.OpenRoot(o.root)
		return err
	})
	if err == nil && dir != "" {
		root, err = w.descend(root, strings.Split(dir, "/"))
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		w.fail(dir, err)
	default:
		defer root.Close()
		w.folder(root, dir)
	}
}

func (w *walk) fail(name string, err error) bool {
	w.yield(Info{}, fmt.Errorf("list %q: %w", name, err))
	return false
}

func (w *walk) folder(root *os.Root, dir string) bool {
	var f *os.File
	if err := w.try(func() (err error) {
		f, err = root.Open(".")
		return err
	}); err != nil {
		return w.fail(dir, err)
	}
	defer f.Close()
	for {
		parts, err := f.Readdirnames(listBatch)
		for _, part := range parts {
			if err := w.ctx.Err(); err != nil {
				return w.fail(dir, err)
			}
			if !w.entry(root, dir, part) {
				return false
			}
		}
		if errors.Is(err, io.EOF) {
			return true
		}
		if err != nil {
			return w.fail(dir, err)
		}
	}
}

func (w *walk) entry(root *os.Root, dir, part string) bool {
	name := part
	if dir != "" {
		name = dir + "/" + part
	}
	temp := isTemp(part)
	foreign := !temp && w.own != nil && !w.own.Folder(name) && !w.own.File(name)
	if !temp && checkPart(part) != nil || foreign && dir == "" { // even Lstat of a foreign name may fail
		return w.file(Info{Name: name, Odd: true}, false)
	}
	var info fs.FileInfo
	err := w.try(func() (err error) {
		info, err = root.Lstat(part)
		return err
	})
	switch {
	case errors.Is(err, fs.ErrNotExist): // deleted after its name was read
		return true
	case err != nil && foreign:
		return w.file(Info{Name: name, Odd: true}, false)
	case err != nil:
		return w.fail(name, err)
	case info.Mode().IsRegular():
		return w.file(Info{Name: name, Size: info.Size(), ModTime: info.ModTime()}, temp)
	case temp || !info.IsDir() || w.own != nil && !w.own.Folder(name):
		return w.file(Info{Name: name, Odd: true}, false)
	}
	below, err := w.enter(root, part)
	if errors.Is(err, fs.ErrNotExist) {
		return true
	}
	if err != nil {
		return w.fail(name, err)
	}
	defer below.Close()
	return w.folder(below, name)
}

func (w *walk) file(info Info, temp bool) bool {
	return temp != w.temps || w.yield(info, nil)
}

// descend opens the folder that parts lead to. It closes root and the folders between.
func (w *walk) descend(root *os.Root, parts []string) (*os.Root, error) {
	for _, part := range parts {
		below, err := w.enter(root, part)
		root.Close()
		if err != nil {
			return nil, err
		}
		root = below
	}
	return root, nil
}

func (w *walk) enter(root *os.Root, part string) (below *os.Root, err error) {
	err = w.try(func() (err error) {
		below, err = openFolder(root, part)
		return err
	})
	return below, err
}

// openFolder opens a folder of root, but not through a link. Links can make a tree endless, and a file listed twice
// looks like two files. Root.OpenRoot follows links that stay below the root, so openFolder checks that the same folder
// is there before and after.
func openFolder(root *os.Root, part string) (*os.Root, error) {
	named, err := root.Lstat(part)
	if err != nil {
		return nil, err
	}
	if !named.IsDir() {
		return nil, fmt.Errorf("%s is not a folder but %s", part, named.Mode())
	}
	below, err := root.OpenRoot(part)
	if err != nil {
		return nil, err
	}
	opened, err := below.Stat(".")
	if err == nil && !os.SameFile(named, opened) {
		err = fmt.Errorf("%s: another folder took its place", part)
	}
	if err != nil {
		below.Close()
		return nil, err
	}
	return below, nil
}
