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

const listBatch = 512 // names read from a folder at a time: a folder of a million packs must not fill the memory

// List yields everything below dir. A folder whose name breaks the rules, or that is not the Layout's, is one Odd entry and
// is not entered: it may be a NAS's own (.snapshot, @eaDir, lost+found), unreadable or as large as the store itself. A
// folder of the store's own that cannot be read is an error, and an error ends the listing. The name of an Odd entry is whatever bytes the NAS says: quote it before a terminal sees it.
func (l *Local) List(ctx context.Context, dir string) iter.Seq2[Info, error] {
	if err := checkDir(dir); err != nil {
		return func(yield func(Info, error) bool) { yield(Info{}, fmt.Errorf("list %q: %w", dir, err)) }
	}
	return l.at(ctx).List(ctx, dir, false)
}

// Leftovers yields the temporary files in the store's folders: of a Put that is at work now, or of one that was killed.
// Nothing in the store tells the two apart; only their age or a lease can. They are regular files with names as writeTemp
// makes them.
func (l *Local) Leftovers(ctx context.Context) iter.Seq2[Info, error] {
	return l.at(ctx).List(ctx, "", true)
}

func (o osFiles) List(ctx context.Context, dir string, temps bool) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		o.walk(&walk{ctx: ctx, yield: yield, own: o.own, temps: temps, retryPolicy: defaultRetryPolicy()}, dir)
	}
}

// A Sweeper is a store that can remove the temporary files that crashes left behind.
type Sweeper interface {
	// Sweep removes those that were last written to before a time, by the store's clock. It returns how many there were, and
	// their bytes, also beside an error.
	Sweep(ctx context.Context, before time.Time) (files int, bytes int64, err error)
}

var _ Sweeper = (*Local)(nil)

// Sweep removes the temporary files that were last written to before a time, by the store's clock, and counts them.
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

// walk is one listing under way. Its methods return false when it is over.
type walk struct {
	ctx   context.Context
	yield func(Info, error) bool
	own   Layout
	temps bool // temporary files instead of all the others
	retryPolicy
}

// try makes a call again where that helps. os does so by itself for most calls, but not for a look at a name in a Root.
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
	if !temp && checkPart(part) != nil || foreign && dir == "" { // even a look at it may fail
		return w.file(Info{Name: name, Odd: true}, false)
	}
	var info fs.FileInfo
	err := w.try(func() (err error) {
		info, err = root.Lstat(part)
		return err
	})
	switch {
	case errors.Is(err, fs.ErrNotExist): // deleted since its name was read
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

// descend opens the folder that parts lead to, and closes root and those between.
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

// openFolder opens a folder of root, never a link to one: links can make a tree endless, and what is listed twice looks
// like two files. Root.OpenRoot follows links that stay below the root, so the same folder must be there before and after.
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
