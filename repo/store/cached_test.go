package store_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/zeebo/blake3"

	"platter/repo/store"
	"platter/repo/store/storetest"
)

func TestCached(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store {
		return store.NewCached(new(store.Mem), t.TempDir(), "stay", "a", "index")
	})
}

// nameOf returns the name in dir of a file with this content.
func nameOf(dir, data string) string {
	sum := blake3.Sum256([]byte(data))
	return dir + "/" + hex.EncodeToString(sum[:])
}

// A counted is a Cached in a folder, over a store that counts its calls.
type counted struct {
	*store.Cached
	t      *testing.T
	behind *storetest.Faulty
	folder string
}

func newCounted(t *testing.T) *counted {
	behind, folder := &storetest.Faulty{Store: new(store.Mem)}, t.TempDir()
	return &counted{store.NewCached(behind, folder, "index", "snapshots"), t, behind, folder}
}

// get checks that a file reads as data, with this number of calls of the wrapped store.
func (c *counted) get(name, data string, calls int64) {
	c.t.Helper()
	before := c.behind.Ops()
	got, err := c.Get(c.t.Context(), name, 0, 1<<20+1)
	if err != nil || string(got) != data || c.behind.Ops()-before != calls {
		c.t.Errorf("%s: %d bytes, %v, after %d calls; want %d bytes after %d", name, len(got), err, c.behind.Ops()-before, len(data), calls)
	}
}

func (c *counted) list(dir string) {
	c.t.Helper()
	for _, err := range c.List(c.t.Context(), dir) {
		if err != nil {
			c.t.Error(err)
		}
	}
}

// copies returns the number of copies, counted in the cache's files.
func (c *counted) copies() (n int) {
	c.t.Helper()
	for _, dir := range []string{"index", "snapshots"} {
		data, err := os.ReadFile(filepath.Join(c.folder, dir+".copies"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			c.t.Fatal(err)
		}
		for ; len(data) > 0; n++ {
			data = data[36+binary.LittleEndian.Uint32(data[32:]):]
		}
	}
	return n
}

func TestCachedAnswers(t *testing.T) {
	c := newCounted(t)
	put := func(s store.Store, name, data string) {
		t.Helper()
		if err := s.Put(t.Context(), name, []byte(data)); err != nil {
			t.Fatal(err)
		}
	}
	mine, theirs := nameOf("index", "mine"), nameOf("snapshots", "theirs")
	put(c, mine, "mine")
	c.get(mine, "mine", 0)
	put(c.behind, theirs, "theirs")
	c.get(theirs, "theirs", 1)
	c.get(theirs, "theirs", 0)
	if got, err := c.Get(t.Context(), mine, 0, 2); err != nil || string(got) != "mi" {
		t.Errorf("the first bytes: %q, %v", got, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Get(ctx, mine, 0, 9); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}

	// Cached copies none of these files.
	large := strings.Repeat("x", 1<<20+1)
	for name, data := range map[string]string{
		"config": "c", nameOf("keys", "key"): "key", "index/other": "other", nameOf("index", "what it was"): "what it is",
		nameOf("packs", "pack"): "pack", nameOf("index", large): large,
	} {
		before := c.copies()
		put(c, name, data)
		c.get(name, data, 1)
		c.get(name, data, 1)
		if c.copies() != before {
			t.Errorf("%s is kept", name)
		}
	}
	part := nameOf("index", "all of it")
	put(c.behind, part, "all of it")
	if _, err := c.Get(t.Context(), part, 0, 9); err != nil { // the file may be longer
		t.Fatal(err)
	}
	c.get(part, "all of it", 1)

	// The next listing drops the copies of files that the store no longer has. A deletion through the cache drops the
	// copy at once.
	if err := c.behind.Delete(t.Context(), theirs); err != nil {
		t.Fatal(err)
	}
	before := c.copies()
	c.list("index")
	if c.copies() != before {
		t.Errorf("%d copies after a listing of another folder, want %d", c.copies(), before)
	}
	c.list("snapshots")
	if c.copies() != before-1 {
		t.Errorf("%d copies, want %d", c.copies(), before-1)
	}
	if _, err := c.Get(t.Context(), theirs, 0, 9); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	if err := c.Delete(t.Context(), mine); err != nil {
		t.Fatal(err)
	}
	c.Forget(part, "index/../../x")
	c.list("index")
	if c.copies() != 0 {
		t.Errorf("%d copies are left", c.copies())
	}
	c.get(part, "all of it", 1)
}

// TestCachedDamage damages every byte of the file of copies, and truncates it everywhere. Reads are always right, and
// after two more openings they come from copies again.
func TestCachedDamage(t *testing.T) {
	c := newCounted(t)
	files := map[string]string{}
	for _, data := range []string{"", "one", "two and more"} {
		files[nameOf("index", data)] = data
		if err := c.Put(t.Context(), nameOf("index", data), []byte(data)); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(c.folder, "index.copies")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	try := func(bad []byte) {
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			c.Close()
			c.list("index")
			for name, data := range files {
				got, err := c.Get(t.Context(), name, 0, 1<<20)
				if err != nil || string(got) != data {
					t.Fatalf("%q, %v; want %q", got, err, data)
				}
			}
		}
		c.Close()
		for name, data := range files {
			c.get(name, data, 0)
		}
		c.list("index")
		if c.copies() != len(files) {
			t.Fatalf("%d copies of %d files", c.copies(), len(files))
		}
	}
	for i := range whole {
		bad := bytes.Clone(whole)
		bad[i] ^= 1 << (i % 8)
		try(bad)
		try(whole[:i])
	}
	try(append(bytes.Clone(whole), "and more"...))
}

// TestCachedByTwo has two caches, as of two processes, use one folder.
func TestCachedByTwo(t *testing.T) {
	a := newCounted(t)
	b := &counted{store.NewCached(a.behind, a.folder, "index", "snapshots"), t, a.behind, a.folder}
	both := []*counted{a, b}
	for i := range 20 {
		data := strings.Repeat("x", i)
		if err := both[i%2].Put(t.Context(), nameOf("index", data), []byte(data)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 20 {
		data := strings.Repeat("x", i)
		both[i%2].get(nameOf("index", data), data, 0)
		if _, err := both[1-i%2].Get(t.Context(), nameOf("index", data), 0, 99); err != nil {
			t.Fatal(err)
		}
		if i%3 == 0 {
			if err := both[i%2].Delete(t.Context(), nameOf("index", data)); err != nil {
				t.Fatal(err)
			}
			both[1-i%2].list("index")
		}
	}
	a.Close()
	a.list("index")
	for i := range 20 {
		if data := strings.Repeat("x", i); i%3 > 0 {
			if got, err := a.Get(t.Context(), nameOf("index", data), 0, 99); err != nil || string(got) != data {
				t.Errorf("%q, %v; want %q", got, err, data)
			}
		}
	}
}

// TestCachedBrokenListing checks that an incomplete listing drops no copies.
func TestCachedBrokenListing(t *testing.T) {
	c := newCounted(t)
	for _, data := range []string{"a", "b", "c"} {
		if err := c.Put(t.Context(), nameOf("index", data), []byte(data)); err != nil {
			t.Fatal(err)
		}
	}
	for range c.List(t.Context(), "index") {
		break
	}
	c.behind.Lose = func(op, _ string) error {
		if op == "list" {
			return errors.New("broken")
		}
		return nil
	}
	for range c.List(t.Context(), "index") {
	}
	if c.copies() != 3 {
		t.Errorf("%d copies, want 3", c.copies())
	}
}

// TestCachedWithoutRoom checks that a folder that cannot be written or read is no error.
func TestCachedWithoutRoom(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("no folder"), 0o600); err != nil {
		t.Fatal(err)
	}
	behind := new(store.Mem)
	c := store.NewCached(behind, filepath.Join(file, "cache"), "index")
	name := nameOf("index", "data")
	if err := c.Put(t.Context(), name, []byte("data")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if got, err := c.Get(t.Context(), name, 0, 9); err != nil || !bytes.Equal(got, []byte("data")) {
			t.Errorf("%q, %v", got, err)
		}
	}
	for _, err := range c.List(t.Context(), "index") {
		if err != nil {
			t.Error(err)
		}
	}
}
