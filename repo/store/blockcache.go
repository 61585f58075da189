package store

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"
)

// blockSize is the unit of BlockCache, in bytes: about what a slow store sends in the time of one round trip.
const blockSize = 1 << 20

// maxFetch is the maximum length of one read from the wrapped store, in bytes. It bounds the memory of a call.
const maxFetch = 16 * blockSize

// failedFor is how long a block that could not be fetched is read in parts instead. A failing disk takes seconds to
// report an unreadable sector, so few reads should touch it.
const failedFor = time.Minute

// BlockCache keeps blocks of large files in a folder of this machine, so that a slow store is asked for each part of a
// file once. The folder is bounded, and what was not read for the longest time goes first. It serves later runs too,
// and several processes at once: each looks from time to time what the others have added. It is for files that never
// change under their name, except by this store.
//
// Damage to the folder is never an error, and neither is a folder that is full or read-only: such a block comes from
// the wrapped store. A block that was damaged on its way from that store stays as it came; see DropRange.
type BlockCache struct {
	Store
	keeps func(name string) bool
	files *blockFiles

	mu      sync.Mutex
	flights map[blockKey]*flight
	failed  map[blockKey]time.Time // when a block could not be fetched
}

var (
	_ Store        = (*BlockCache)(nil)
	_ Filler       = (*BlockCache)(nil)
	_ Dropper      = (*BlockCache)(nil)
	_ RangeDropper = (*BlockCache)(nil)
)

// NewBlockCache returns s with a cache in folder for the files that keeps names. The folder is made if it is missing;
// it must serve this cache alone. It holds at most limit bytes. Close ends the work in the background.
func NewBlockCache(s Store, folder string, limit int64, keeps func(name string) bool) (*BlockCache, error) {
	if limit < 0 {
		return nil, fmt.Errorf("a block cache of %d bytes: want 0 or more", limit)
	}
	files, err := openBlockFiles(folder, limit)
	if err != nil {
		return nil, fmt.Errorf("make the block cache: %w", err)
	}
	return &BlockCache{
		Store: s, keeps: keeps, files: files,
		flights: map[blockKey]*flight{}, failed: map[blockKey]time.Time{},
	}, nil
}

// Unwrap returns the wrapped store; see As.
func (c *BlockCache) Unwrap() Store { return c.Store }

// Stop ends the work in the background, and returns when it has ended. The cache still serves reads. A second Stop does
// nothing.
func (c *BlockCache) Stop() { c.files.stop() }

// Close stops the cache and closes the wrapped store.
func (c *BlockCache) Close() error {
	c.Stop()
	return c.Store.Close()
}

// serves reports whether a range comes from blocks. The wrapped store answers for all others, and for what is wrong.
func (c *BlockCache) serves(name string, off, n int64) bool {
	return n > 0 && off >= 0 && off < math.MaxInt64/2 && checkName(name) == nil && c.keeps(name)
}

func (c *BlockCache) Get(ctx context.Context, name string, off, n int64) ([]byte, error) {
	if !c.serves(name, off, n) {
		return c.Store.Get(ctx, name, off, n)
	}
	var data []byte
	for n > 0 {
		part := min(n, maxFetch-off%blockSize)
		data = slices.Grow(data, int(part))
		got, err := c.fill(ctx, data[len(data):][:part], name, off)
		if err != nil {
			return nil, err
		}
		if data = data[:len(data)+got]; int64(got) < part {
			break
		}
		off, n = off+part, n-part
	}
	return data, nil
}

// GetInto reads into dst; see Filler.
func (c *BlockCache) GetInto(ctx context.Context, dst []byte, name string, off int64) (int, error) {
	if !c.serves(name, off, int64(len(dst))) {
		data, err := GetInto(ctx, c.Store, dst, name, off, int64(len(dst)))
		return copy(dst, data), err
	}
	done := 0
	for done < len(dst) {
		at := off + int64(done)
		part := dst[done:][:min(int64(len(dst)-done), maxFetch-at%blockSize)]
		got, err := c.fill(ctx, part, name, at)
		if err != nil {
			return 0, err
		}
		if done += got; got < len(part) {
			break
		}
	}
	return done, nil
}

func (c *BlockCache) Put(ctx context.Context, name string, data []byte) error {
	defer c.dropBlocks(name, 0, math.MaxInt64) // also after an error: the store may have done it
	return c.Store.Put(ctx, name, data)
}

func (c *BlockCache) Create(ctx context.Context, name string, data []byte) error {
	defer c.dropBlocks(name, 0, math.MaxInt64)
	return c.Store.Create(ctx, name, data)
}

func (c *BlockCache) Move(ctx context.Context, from, to string) error {
	defer c.dropBlocks(from, 0, math.MaxInt64)
	defer c.dropBlocks(to, 0, math.MaxInt64)
	return c.Store.Move(ctx, from, to)
}

func (c *BlockCache) Delete(ctx context.Context, name string) error {
	defer c.dropBlocks(name, 0, math.MaxInt64)
	return c.Store.Delete(ctx, name)
}

// Drop drops the blocks of a file, and has the wrapped store drop it too.
func (c *BlockCache) Drop(name string) {
	c.dropBlocks(name, 0, math.MaxInt64)
	Drop(c.Store, name)
}

// DropRange drops the blocks that hold a range; see RangeDropper.
func (c *BlockCache) DropRange(name string, off, n int64) bool {
	dropped := c.dropBlocks(name, off, n)
	return DropRange(c.Store, name, off, n) || dropped
}

// dropBlocks drops the blocks that hold a range, and reports whether such blocks may have been there. Fetches under way
// are not kept: they may have begun before the reason to drop.
func (c *BlockCache) dropBlocks(name string, off, n int64) bool {
	if n <= 0 || off < 0 || checkName(name) != nil || !c.keeps(name) {
		return false
	}
	file := fileKeyOf(name)
	first, last := off/blockSize, (off+min(n, math.MaxInt64-off)-1)/blockSize
	c.mu.Lock()
	for key, f := range c.flights {
		if key.file == file && first <= key.block && key.block <= last {
			f.stale.Store(true)
			delete(c.flights, key)
		}
	}
	c.mu.Unlock()
	c.files.drop(file, first, last)
	return true
}
