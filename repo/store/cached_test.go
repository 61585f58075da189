package store_test

import (
	"bytes"
	"context"
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

// nameOf is where a file of some bytes belongs.
func nameOf(dir, data string) string {
	sum := blake3.Sum256([]byte(data))
	return dir + "/" + hex.EncodeToString(sum[:])
}

// A counted store is a Cached over a store that counts, in a folder.
type counted struct {
	*store.Cached
	t      *testing.T
	behind *storetest.Faulty
	folder string
}

func newCounted(t *testing.T) *counted {
	behind, folder := &storetest.Faulty{Store: new(store.Mem)}, filepath.Join(t.TempDir(), "cache")
	return &counted{store.NewCached(behind, folder, "index", "snapshots"), t, behind, folder}
}

// get holds that a file reads as data, after so many calls of the store.
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

func (c *counted) copies() (n int) {
	c.t.Helper()
	err := filepath.WalkDir(c.folder, func(_ string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && d.Type().IsRegular() {
			n++
		}
		return err
	})
	if err != nil {
		c.t.Error(err)
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

	// Of these no copy is kept.
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
	if _, err := c.Get(t.Context(), part, 0, 9); err != nil { // it may go on
		t.Fatal(err)
	}
	c.get(part, "all of it", 1)

	// A copy that is not what it was is fetched again.
	for _, bad := range []string{"", "min", "mine?", "mini", large} {
		if err := os.WriteFile(filepath.Join(c.folder, filepath.FromSlash(mine)), []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		c.get(mine, "mine", 1)
		c.get(mine, "mine", 0)
	}

	// What the store no longer has goes with the next listing, and at once when it was deleted here.
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
		t.Errorf("a file that is gone: %v", err)
	}
	if err := c.Delete(t.Context(), mine); err != nil {
		t.Fatal(err)
	}
	c.Forget(part, "index/../../x")
	if c.copies() != 0 {
		t.Errorf("%d copies are left", c.copies())
	}
	c.get(part, "all of it", 1)
}

// TestCachedBrokenListing holds that a listing which was not whole costs no copies.
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

// TestCachedWithoutRoom holds that a folder which cannot be written or read is no error.
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
