package store

import (
	"context"
	"encoding/hex"
	"iter"
	"path/filepath"
	"strings"

	"github.com/zeebo/blake3"
)

// maxKept is the maximum size of files that Cached copies, in bytes. The cost that Cached saves is in requests for
// thousands of small files.
const maxKept = 1 << 20

// Cached keeps copies of small files in a folder of this machine, and reads from them. It copies only files directly in
// the named folders of the store whose name is the plain BLAKE3 of their bytes. Such a file never changes, and a copy
// that changes no longer matches its name. Listings always come from the store, and remove the copies of files that are
// no longer listed.
//
// A copy that cannot be read or written is never an error: Cached then works as if it had no cache.
type Cached struct {
	Store
	dirs map[string]*copies
}

var (
	_ Store  = (*Cached)(nil)
	_ Filler = (*Cached)(nil)
)

// NewCached returns s with a cache for the files in dirs, which are folders of s. folder must exist; it gets one file
// for each dir.
func NewCached(s Store, folder string, dirs ...string) *Cached {
	c := &Cached{s, map[string]*copies{}}
	for _, dir := range dirs {
		c.dirs[dir] = &copies{path: filepath.Join(folder, dir+".copies")}
	}
	return c
}

// Close closes the files of the cache and the wrapped store.
func (c *Cached) Close() error {
	for _, kept := range c.dirs {
		kept.close()
	}
	return c.Store.Close()
}

// Unwrap returns the wrapped store; see As.
func (c *Cached) Unwrap() Store { return c.Store }

// Over returns the same cache in front of another store, which must hold the same files. It replaces c.
func (c *Cached) Over(s Store) *Cached { return &Cached{s, c.dirs} }

// find returns where the copy of a file belongs; nil if Cached does not copy that file.
func (c *Cached) find(name string) (kept *copies, id [32]byte) {
	dir, base, _ := strings.Cut(name, "/")
	if len(base) != 2*len(id) || strings.ToLower(base) != base {
		return nil, id
	}
	if _, err := hex.Decode(id[:], []byte(base)); err != nil {
		return nil, id
	}
	return c.dirs[dir], id
}

func (c *Cached) Get(ctx context.Context, name string, off, n int64) ([]byte, error) {
	kept, id := c.find(name)
	if kept == nil || off != 0 || n < 0 || ctx.Err() != nil {
		return c.Store.Get(ctx, name, off, n)
	}
	if data, ok := kept.get(id); ok {
		return data[:min(int64(len(data)), n)], nil
	}
	data, err := c.Store.Get(ctx, name, off, n)
	if err == nil && int64(len(data)) < n { // the whole file
		keep(kept, id, data)
	}
	return data, err
}

// GetInto reads into dst; see Filler. Like Get, it reads from a copy if there is one.
func (c *Cached) GetInto(ctx context.Context, dst []byte, name string, off int64) (int, error) {
	kept, _ := c.find(name)
	var data []byte
	var err error
	if kept == nil {
		data, err = GetInto(ctx, c.Store, dst, name, off, int64(len(dst)))
	} else {
		data, err = c.Get(ctx, name, off, int64(len(dst)))
	}
	return copy(dst, data), err
}

// keep copies a file's bytes if they match its name.
func keep(kept *copies, id [32]byte, data []byte) {
	if len(data) <= maxKept && blake3.Sum256(data) == id {
		kept.add(id, data)
	}
}

func (c *Cached) Put(ctx context.Context, name string, data []byte) error {
	if err := c.Store.Put(ctx, name, data); err != nil {
		return err
	}
	if kept, id := c.find(name); kept != nil {
		keep(kept, id, data)
	}
	return nil
}

func (c *Cached) Move(ctx context.Context, from, to string) error {
	err := c.Store.Move(ctx, from, to)
	if kept, id := c.find(from); kept != nil && err == nil {
		kept.drop(id)
	}
	return err
}

func (c *Cached) Delete(ctx context.Context, name string) error {
	err := c.Store.Delete(ctx, name)
	if kept, id := c.find(name); kept != nil && err == nil {
		kept.drop(id)
	}
	return err
}

// List lists the store, and removes the copies of files that it does not list.
func (c *Cached) List(ctx context.Context, dir string) iter.Seq2[Info, error] {
	kept := c.dirs[dir]
	if kept == nil {
		return c.Store.List(ctx, dir)
	}
	return func(yield func(Info, error) bool) {
		listed := map[[32]byte]bool{}
		for info, err := range c.Store.List(ctx, dir) {
			if to, id := c.find(info.Name); to == kept {
				listed[id] = true
			}
			if !yield(info, err) || err != nil {
				return // the file of a copy may be in the part not listed
			}
		}
		kept.retain(func(id [32]byte) bool { return listed[id] })
	}
}

// Keep adds a copy of a file that was put under another name and then moved to name.
func (c *Cached) Keep(name string, data []byte) {
	if kept, id := c.find(name); kept != nil {
		keep(kept, id, data)
	}
}

// Forget removes the copies of files that will not be read again.
func (c *Cached) Forget(names ...string) {
	for _, name := range names {
		if kept, id := c.find(name); kept != nil {
			kept.drop(id)
		}
	}
}
