package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"platter/repo/store"
	"platter/repo/store/storetest"
	"platter/snapshot/image/oracle"
)

const (
	block     = 1 << 20
	blockFile = block + 60 // the file of a whole block
)

// blocksOver returns a block cache for the files below packs. Close it.
func blocksOver(t testing.TB, s store.Store, folder string, limit int64) *store.BlockCache {
	t.Helper()
	c, err := store.NewBlockCache(s, folder, limit, func(name string) bool { return strings.HasPrefix(name, "packs/") })
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A fetched store is a store in memory that counts how often each block of each file was read from it.
type fetched struct {
	store.Mem
	hook func(ctx context.Context, name string, off, n int64) error // called before a read; nil for none

	mu    sync.Mutex
	times map[string]map[int64]int
	reads int
}

func (f *fetched) Get(ctx context.Context, name string, off, n int64) ([]byte, error) {
	f.mu.Lock()
	f.reads++
	if f.times == nil {
		f.times = map[string]map[int64]int{}
	}
	if f.times[name] == nil {
		f.times[name] = map[int64]int{}
	}
	for b := off / block; b*block < off+n && b < 1<<10; b++ {
		f.times[name][b]++
	}
	hook := f.hook
	f.mu.Unlock()
	if hook != nil {
		if err := hook(ctx, name, off, n); err != nil {
			return nil, fmt.Errorf("get %s: %w", name, err)
		}
	}
	return f.Mem.Get(ctx, name, off, n)
}

// most returns how often the block read most often was read, and how many reads there were.
func (f *fetched) most() (times, reads int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, blocks := range f.times {
		for _, n := range blocks {
			times = max(times, n)
		}
	}
	return times, f.reads
}

func (f *fetched) reset() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.times, f.reads = nil, 0
}

func randomBytes(seed byte, n int) []byte {
	data := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(data) // never fails
	return data
}

// putPack puts a file of random bytes.
func putPack(t testing.TB, s store.Store, name string, size int) []byte {
	t.Helper()
	data := randomBytes(byte(len(name)+size), size)
	if err := s.Put(context.Background(), name, data); err != nil {
		t.Fatal(err)
	}
	return data
}

// wantRange reads a range in one of the two ways.
func wantRange(t testing.TB, s store.Store, name string, data []byte, off, n int64, into bool) {
	t.Helper()
	want := data[min(off, int64(len(data))):min(off+n, int64(len(data)))]
	var got []byte
	var err error
	if into {
		got, err = store.GetInto(context.Background(), s, make([]byte, n), name, off, n)
	} else {
		got, err = s.Get(context.Background(), name, off, n)
	}
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s, %d bytes at %d, into %v: %d bytes, %v; want %d", name, n, off, into, len(got), err, len(want))
	}
}

// blockPaths returns the files of the cache and their total size.
func blockPaths(t testing.TB, folder string) (paths []string, size int64) {
	t.Helper()
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) { // removed meanwhile
			return nil
		}
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		paths, size = append(paths, path), size+info.Size()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths, size
}

func TestBlockCache(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store {
		c, err := store.NewBlockCache(new(store.Mem), t.TempDir(), 64<<20, func(string) bool { return true })
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Stop)
		return c
	})
}

// TestBlockCacheFetchesOnce reads random ranges of files of every kind of length. All equal the store's bytes, and the
// store reads each block at most once, also after a new opening.
func TestBlockCacheFetchesOnce(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	s, folder := new(fetched), t.TempDir()
	files := map[string][]byte{}
	for i, size := range []int{1, 4096, block - 1, block, block + 1, 3*block + 17, 20 * block} {
		name := fmt.Sprintf("packs/%02d", i)
		files[name] = putPack(t, s, name, size)
	}
	for run := range 2 {
		c := blocksOver(t, s, folder, 1<<30)
		for range 15 {
			for name, data := range files {
				size := int64(len(data))
				off := rnd.Int64N(size)
				n := min(1+rnd.Int64N([]int64{100, 3 * block, size}[rnd.IntN(3)]), size-off)
				wantRange(t, c, name, data, off, n, rnd.IntN(2) == 0)
			}
		}
		for name, data := range files { // past the end, by any length
			for _, over := range []int64{1, block, 40 * block} {
				s.reset()
				size := int64(len(data))
				wantRange(t, c, name, data, size/2, size+over, over == block)
				wantRange(t, c, name, data, size+over, 10, over == block)
			}
		}
		if got, err := c.Get(t.Context(), "packs/05", 5, math.MaxInt64); err != nil || !bytes.Equal(got, files["packs/05"][5:]) {
			t.Errorf("all of a file: %d bytes, %v", len(got), err)
		}
		for name, data := range files { // the rest, which no random range had
			wantRange(t, c, name, data, 0, int64(len(data)), run == 0)
		}
		s.reset()
		for name, data := range files {
			wantRange(t, c, name, data, 0, int64(len(data)), run == 1)
		}
		if times, _ := s.most(); times != 0 {
			t.Errorf("run %d: a block that is kept was read %d times", run, times)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	paths, _ := blockPaths(t, folder)
	for _, path := range paths {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v, %v: others may read it", path, info.Mode(), err)
		}
	}
}

// TestBlockCacheGaps checks that one call reads each gap between kept blocks at once.
func TestBlockCacheGaps(t *testing.T) {
	s := new(fetched)
	data := putPack(t, s, "packs/ab", 9*block+5)
	c := blocksOver(t, s, t.TempDir(), 1<<30)
	defer c.Close()
	wantRange(t, c, "packs/ab", data, 2*block, 1, false)
	wantRange(t, c, "packs/ab", data, 6*block, block+1, false)
	s.reset()
	wantRange(t, c, "packs/ab", data, 100, int64(len(data)), true)
	if times, reads := s.most(); times != 1 || reads != 3 {
		t.Errorf("%d reads, a block at most %d times; want 3, and 1", reads, times)
	}
}

// TestBlockCacheAtOnce reads one file from many goroutines. The store reads each block once.
func TestBlockCacheAtOnce(t *testing.T) {
	s := new(fetched)
	data := putPack(t, s, "packs/ab", 6*block+9)
	c := blocksOver(t, s, t.TempDir(), 1<<30)
	defer c.Close()
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(i), 0))
			for range 20 {
				off := rnd.Int64N(int64(len(data)) - 1)
				n := 1 + rnd.Int64N(min(2*block, int64(len(data))-off))
				got, err := c.Get(t.Context(), "packs/ab", off, n)
				if err != nil || !bytes.Equal(got, data[off:off+n]) {
					t.Errorf("%d bytes at %d: %d bytes, %v", n, off, len(got), err)
				}
			}
		})
	}
	all.Wait()
	if times, _ := s.most(); times != 1 {
		t.Errorf("a block was read %d times", times)
	}
}

// TestBlockCacheBound checks that the folder never exceeds its limit, that the block used last stays, and that a new
// opening with a smaller limit removes the oldest ones.
func TestBlockCacheBound(t *testing.T) {
	const limit = 6 * blockFile
	s, folder := new(fetched), t.TempDir()
	data := putPack(t, s, "packs/ab", 40*block)
	c := blocksOver(t, s, folder, limit)
	for i := range int64(40) {
		wantRange(t, c, "packs/ab", data, i*block, 10, false)
		wantRange(t, c, "packs/ab", data, 0, 10, false) // the first block stays, because it is used
		if paths, size := blockPaths(t, folder); size > limit || i > 10 && len(paths) < 4 {
			t.Fatalf("after %d blocks: %d files of %d bytes, limit %d", i+1, len(paths), size, limit)
		}
	}
	if times, _ := s.most(); times != 1 {
		t.Errorf("a block was read %d times", times)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}

	paths, _ := blockPaths(t, folder)
	var newest string
	for i, path := range paths {
		at := time.Now().Add(-time.Duration(len(paths)-i) * time.Hour)
		if newest = path; os.Chtimes(path, at, at) != nil {
			t.Fatal("cannot set the time of a file")
		}
	}
	foreign := filepath.Join(filepath.Dir(newest), "notes.txt")
	fresh := filepath.Join(filepath.Dir(newest), ".tmp-"+strings.Repeat("a", 32))
	leftover := filepath.Join(filepath.Dir(newest), ".tmp-"+strings.Repeat("b", 32))
	for _, path := range []string{foreign, fresh, leftover} {
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(leftover, old, old); err != nil {
		t.Fatal(err)
	}
	c = blocksOver(t, s, folder, 2*blockFile)
	c.AwaitWalk(t)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	left, _ := blockPaths(t, folder)
	for path, want := range map[string]bool{newest: true, paths[0]: false, foreign: true, fresh: true, leftover: false} {
		if _, err := os.Stat(path); (err == nil) != want {
			t.Errorf("%s: %v, want it there: %v", path, err, want)
		}
	}
	if len(left) != 1+2 {
		t.Errorf("left are %q", left)
	}
}

// TestBlockCacheTouches checks that a read after more than a minute sets the time of the block's file.
func TestBlockCacheTouches(t *testing.T) {
	s, folder := new(fetched), t.TempDir()
	data := putPack(t, s, "packs/ab", block)
	c := blocksOver(t, s, folder, 1<<30)
	wantRange(t, c, "packs/ab", data, 0, 10, false)
	c.Close()
	paths, _ := blockPaths(t, folder)
	for _, age := range []time.Duration{time.Hour, 10 * time.Second} {
		at := time.Now().Add(-age)
		if err := os.Chtimes(paths[0], at, at); err != nil {
			t.Fatal(err)
		}
		c = blocksOver(t, s, folder, 1<<30)
		c.AwaitWalk(t)
		wantRange(t, c, "packs/ab", data, 0, 10, false)
		c.Close()
		info, err := os.Stat(paths[0])
		if err != nil || info.ModTime().After(at.Add(time.Second)) != (age == time.Hour) {
			t.Errorf("used after %v, it has the time %v, want it touched only after more than a minute", age, info.ModTime())
		}
	}
}

// TestBlockCacheDamage damages, truncates, swaps and replaces files of the cache. Every read is right, and the next one
// comes from the cache again.
func TestBlockCacheDamage(t *testing.T) {
	s, folder := new(fetched), t.TempDir()
	data := putPack(t, s, "packs/ab", block+700)
	c := blocksOver(t, s, folder, 1<<30)
	defer c.Close()
	wantRange(t, c, "packs/ab", data, 0, int64(len(data)), false)
	paths, _ := blockPaths(t, folder)
	if len(paths) != 2 {
		t.Fatalf("%q", paths)
	}
	long, short := paths[0], paths[1]
	whole, other := readFile(t, short), readFile(t, long)
	bad := [][]byte{{}, whole[:len(whole)-1], whole[:60], whole[:59], append(bytes.Clone(whole), 0), other, append(bytes.Clone(whole), other...)}
	for i := range 60 + 20 {
		flipped := bytes.Clone(whole)
		flipped[i] ^= 1 << (i % 8)
		bad = append(bad, flipped)
	}
	for i, file := range bad {
		if err := os.WriteFile(short, file, 0o600); err != nil {
			t.Fatal(err)
		}
		s.reset()
		for range 2 {
			wantRange(t, c, "packs/ab", data, block, 700, i%2 == 0)
		}
		if _, reads := s.most(); reads != 1 || !bytes.Equal(readFile(t, short), whole) {
			t.Fatalf("damage %d: %d reads of the store, want 1 and the block put right", i, reads)
		}
	}
	if err := errors.Join(os.Remove(short), os.Mkdir(short, 0o700), os.WriteFile(filepath.Join(short, "x"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	wantRange(t, c, "packs/ab", data, block, 700, false)
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestBlockCacheWithoutFolder takes the folder away. Reads go on, from the store.
func TestBlockCacheWithoutFolder(t *testing.T) {
	s, folder := new(fetched), filepath.Join(t.TempDir(), "blocks")
	data := putPack(t, s, "packs/ab", 2*block)
	c := blocksOver(t, s, folder, 1<<30)
	defer c.Close()
	c.AwaitWalk(t)
	if err := errors.Join(os.RemoveAll(folder), os.WriteFile(folder, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		wantRange(t, c, "packs/ab", data, 5, block, false)
		c.DropRange("packs/ab", 0, block)
		c.Drop("packs/ab")
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := store.NewBlockCache(s, filepath.Join(file, "blocks"), 1, nil); !errors.Is(err, syscall.ENOTDIR) && err == nil {
		t.Errorf("a folder that cannot be made: %v", err)
	}
	if _, err := store.NewBlockCache(s, folder+"2", -1, nil); err == nil {
		t.Error("a negative limit is no error")
	}
	none := blocksOver(t, s, folder+"3", 0)
	defer none.Close()
	wantRange(t, none, "packs/ab", data, 5, block, false)
	if paths, _ := blockPaths(t, folder+"3"); len(paths) > 0 {
		t.Errorf("with a limit of 0 it keeps %q", paths)
	}
}

// TestBlockCacheStuck checks that a dropped block that cannot be removed is not read again.
func TestBlockCacheStuck(t *testing.T) {
	if os.PathSeparator == '\\' {
		t.Skip("Windows has no read-only folders")
	}
	s, folder := new(fetched), t.TempDir()
	data := putPack(t, s, "packs/ab", 1000)
	c := blocksOver(t, s, folder, 1<<30)
	defer c.Close()
	wantRange(t, c, "packs/ab", data, 0, 1000, false)
	paths, _ := blockPaths(t, folder)
	if dir := filepath.Dir(paths[0]); os.Geteuid() != 0 {
		if err := os.Chmod(dir, 0o500); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.Chmod(dir, 0o700) })
	} else { // root removes files in read-only folders, and not files that something is mounted on
		oracle.Run(t, "mount", "--bind", paths[0], paths[0])
		t.Cleanup(func() { oracle.Run(t, "umount", paths[0]) })
	}
	changed := putPack(t, &s.Mem, "packs/ab", 999)
	c.DropRange("packs/ab", 0, 1)
	wantRange(t, c, "packs/ab", changed, 0, 1000, false)
}
