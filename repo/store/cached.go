package store

import (
	"context"
	"encoding/hex"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/zeebo/blake3"
)

// maxKept bounds the files that Cached keeps copies of, in bytes: what costs is asking a NAS for thousands of small ones.
const maxKept = 1 << 20

// Cached keeps copies of small files in a folder of this machine and answers from them. It keeps only files that are
// directly in the folders of the store it is told of and that are named by the plain BLAKE3 of their bytes: those never change,
// and a copy that does is found out. What there is, only the store says: listings go there, and copies of what is no longer
// listed are removed.
//
// That a copy cannot be read or written is never an error: then it is as if there were no cache.
type Cached struct {
	Store
	folder string
	dirs   []string
}

var _ Store = (*Cached)(nil)

// NewCached puts a cache in folder before s, for files in some folders of s.
func NewCached(s Store, folder string, dirs ...string) *Cached {
	return &Cached{s, folder, dirs}
}

// Uncached returns the store behind the cache.
func (c *Cached) Uncached() Store { return c.Store }

// id returns the hash that a file is named by, and false for a file that no copy is kept of.
func (c *Cached) id(name string) (id [32]byte, ok bool) {
	dir, base, _ := strings.Cut(name, "/")
	if !slices.Contains(c.dirs, dir) || len(base) != 2*len(id) || strings.ToLower(base) != base {
		return id, false
	}
	_, err := hex.Decode(id[:], []byte(base))
	return id, err == nil
}

func (c *Cached) path(name string) string { return filepath.Join(c.folder, filepath.FromSlash(name)) }

func (c *Cached) Get(ctx context.Context, name string, off, n int64) ([]byte, error) {
	id, ok := c.id(name)
	if !ok || off != 0 || ctx.Err() != nil {
		return c.Store.Get(ctx, name, off, n)
	}
	if data, ok := c.copyOf(name, id); ok && n >= 0 {
		return data[:min(int64(len(data)), n)], nil
	}
	data, err := c.Store.Get(ctx, name, off, n)
	if err == nil && int64(len(data)) < n { // all of it
		c.keep(name, id, data)
	}
	return data, err
}

// copyOf returns the file's bytes from the copy, and removes a copy that is not what it should be.
func (c *Cached) copyOf(name string, id [32]byte) ([]byte, bool) {
	f, err := os.Open(c.path(name))
	if err != nil {
		return nil, false
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil && info.Mode().IsRegular() && info.Size() <= maxKept {
		data := make([]byte, info.Size())
		if got, err := f.ReadAt(data, 0); err == nil && got == len(data) && blake3.Sum256(data) == id {
			return data, true
		}
	}
	os.Remove(c.path(name))
	return nil, false
}

// keep makes a copy of a file's bytes, if they are what the name says.
func (c *Cached) keep(name string, id [32]byte, data []byte) {
	if len(data) > maxKept || blake3.Sum256(data) != id {
		return
	}
	dir := filepath.Dir(c.path(name))
	f, err := os.CreateTemp(dir, tempPrefix+"*")
	if os.IsNotExist(err) {
		if os.MkdirAll(dir, 0o700) == nil {
			f, err = os.CreateTemp(dir, tempPrefix+"*")
		}
	}
	if err != nil {
		return
	}
	// No sync: a copy that a power cut damaged is found out like any other.
	_, err = f.Write(data)
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(f.Name(), c.path(name))
	}
	if err != nil {
		os.Remove(f.Name())
	}
}

func (c *Cached) Put(ctx context.Context, name string, data []byte) error {
	if err := c.Store.Put(ctx, name, data); err != nil {
		return err
	}
	if id, ok := c.id(name); ok {
		c.keep(name, id, data)
	}
	return nil
}

func (c *Cached) Delete(ctx context.Context, name string) error {
	err := c.Store.Delete(ctx, name)
	if _, ok := c.id(name); ok && err == nil {
		os.Remove(c.path(name))
	}
	return err
}

// List lists the store, and removes copies that it does not list.
func (c *Cached) List(ctx context.Context, dir string) iter.Seq2[Info, error] {
	if !slices.Contains(c.dirs, dir) {
		return c.Store.List(ctx, dir)
	}
	return func(yield func(Info, error) bool) {
		listed := map[string]bool{}
		for info, err := range c.Store.List(ctx, dir) {
			listed[info.Name] = true
			if !yield(info, err) || err != nil {
				return // what was not listed may be there
			}
		}
		entries, err := os.ReadDir(c.path(dir))
		if err != nil {
			return
		}
		for _, e := range entries { // temporary files among them: who is writing one does without
			if name := dir + "/" + e.Name(); !listed[name] {
				os.Remove(c.path(name))
			}
		}
	}
}

// Forget removes copies of files that will not be asked for again.
func (c *Cached) Forget(names ...string) {
	for _, name := range names {
		if _, ok := c.id(name); ok {
			os.Remove(c.path(name))
		}
	}
}
