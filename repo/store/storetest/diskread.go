package storetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"path"
	"strings"

	"platter/repo/store"
)

// openFile is a file open for reading. Later writes do not affect its reader.
type openFile struct{ data []byte }

func (f openFile) ReadAt(p []byte, off int64) (int, error) {
	n := copy(p, f.data[min(off, int64(len(f.data))):])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (openFile) Close() error { return nil }

func (d *Disk) Open(name string) (store.OpenFile, int64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.find(name)
	if n == nil {
		return nil, 0, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	if n.entries != nil {
		return nil, 0, errors.New("not a regular file: it is a folder")
	}
	return openFile{n.data}, int64(len(n.data)), nil
}

func (d *Disk) List(ctx context.Context, dir string, temps bool) iter.Seq2[store.Info, error] {
	return func(yield func(store.Info, error) bool) {
		infos, err := d.below(dir, temps)
		for err == nil && ctx.Err() == nil {
			if len(infos) == 0 || !yield(infos[0], nil) {
				return
			}
			infos = infos[1:]
		}
		yield(store.Info{}, fmt.Errorf("list %q: %w", dir, errors.Join(err, ctx.Err())))
	}
}

func (d *Disk) below(dir string, temps bool) ([]store.Info, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	top := d.find(path.Join(".", dir))
	switch {
	case top == nil:
		return nil, nil
	case top.entries == nil:
		return nil, errors.New("it is not a folder")
	}
	var infos []store.Info
	top.walk(dir, func(name string, n *node) {
		if strings.HasPrefix(path.Base(name), ".tmp-") == temps {
			infos = append(infos, store.Info{Name: name, Size: int64(len(n.data)), ModTime: n.time})
		}
	})
	return infos, nil
}

// walk calls fn for the files below a folder, sorted.
func (n *node) walk(dir string, fn func(name string, n *node)) {
	for _, name := range sorted(n.entries) {
		switch n, name := (entry{n, name}).at(), path.Join(dir, name); {
		case n == nil:
		case n.entries != nil:
			n.walk(name, fn)
		default:
			fn(name, n)
		}
	}
}
