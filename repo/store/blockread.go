package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync/atomic"
	"time"
)

// A flight is one fetch of one block, for all calls that want it.
type flight struct {
	done  chan struct{} // closed when data and err are set
	data  []byte        // the block; shorter than blockSize at the end of the file, and then perhaps empty
	err   error
	left  bool        // the call that fetched ended before its answer came
	stale atomic.Bool // the block must not be kept
}

// A blockPart is what one call reads of one block.
type blockPart struct {
	key    blockKey
	from   int    // its first byte in the block
	dst    []byte // where it goes
	n      int    // bytes copied to dst; fewer than its length at the end of the file
	copied bool
	flight *flight // the fetch that it waits for; nil before
	own    bool    // this call makes the fetch
}

// take copies the part out of its block.
func (p *blockPart) take(block []byte) {
	p.n, p.copied = copy(p.dst, block[min(p.from, len(block)):]), true
}

// blockParts divides a range among the blocks that hold it.
func blockParts(dst []byte, name string, off int64) (parts []blockPart) {
	file := fileKeyOf(name)
	for len(dst) > 0 {
		p := blockPart{key: blockKey{file, off / blockSize}, from: int(off % blockSize)}
		p.dst = dst[:min(len(dst), blockSize-p.from)]
		parts = append(parts, p)
		dst, off = dst[len(p.dst):], off+int64(len(p.dst))
	}
	return parts
}

// fill reads len(dst) bytes of a file at off: from blocks that are kept, and the others from the store. It returns
// fewer only at the end of the file. dst is at most maxFetch long, to the end of its last block.
func (c *BlockCache) fill(ctx context.Context, dst []byte, name string, off int64) (n int, err error) {
	if err := ctx.Err(); err != nil {
		return 0, fmt.Errorf("get %s: %w", name, err)
	}
	parts := blockParts(dst, name, off)
	for i := range parts {
		c.files.get(parts[i].key, parts[i].take)
	}
	for again := true; again; {
		if !c.board(parts) {
			return c.around(ctx, dst, name, off)
		}
		if again, err = c.fetch(ctx, name, parts); err == nil {
			continue
		}
		if ctx.Err() != nil || errors.Is(err, fs.ErrNotExist) {
			return 0, err
		}
		return c.around(ctx, dst, name, off)
	}
	for i := range parts {
		n += parts[i].n
		if parts[i].n < len(parts[i].dst) {
			break
		}
	}
	return n, nil
}

// around reads past the cache. A block that cannot be read may have the wanted bytes all the same.
func (c *BlockCache) around(ctx context.Context, dst []byte, name string, off int64) (int, error) {
	data, err := GetInto(ctx, c.Store, dst, name, off, int64(len(dst)))
	return copy(dst, data), err
}

// board finds or begins a flight for each part that is not copied yet. It returns false, and begins none, if one of the
// blocks could not be fetched a short time ago.
func (c *BlockCache) board(parts []blockPart) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	for i := range parts {
		if at, ok := c.failed[parts[i].key]; ok && !parts[i].copied && now.Sub(at) < failedFor {
			return false
		}
	}
	for i := range parts {
		p := &parts[i]
		if p.copied {
			continue
		}
		if p.flight = c.flights[p.key]; p.flight == nil {
			p.flight, p.own = &flight{done: make(chan struct{})}, true
			c.flights[p.key] = p.flight
		}
	}
	return true
}

// fetch makes the flights of this call, and waits for those of others. It returns true if a call ended before its
// flight did: such a part needs another flight.
func (c *BlockCache) fetch(ctx context.Context, name string, parts []blockPart) (again bool, err error) {
	defer c.land(ctx, parts)
	for i := range parts {
		// A flight that has just landed may have kept the block after this call had looked.
		if p := &parts[i]; p.own && c.files.get(p.key, func(b []byte) { p.flight.data = append([]byte(nil), b...) }) {
			p.take(p.flight.data)
			close(p.flight.done)
		}
	}
	for i := 0; i < len(parts); i++ {
		n := 0
		for i+n < len(parts) && parts[i+n].own && !parts[i+n].copied {
			n++
		}
		if n > 0 {
			if err := c.fetchGap(ctx, name, parts[i:i+n]); err != nil {
				return false, err
			}
			i += n - 1
		}
	}
	for i := range parts {
		p := &parts[i]
		if p.copied {
			continue
		}
		select {
		case <-p.flight.done:
		case <-ctx.Done():
			return false, fmt.Errorf("get %s: %w", name, ctx.Err())
		}
		switch {
		case p.flight.err == nil:
			p.take(p.flight.data)
		case p.flight.left:
			again, p.flight = true, nil
		default:
			return false, p.flight.err
		}
	}
	return again, nil
}

// fetchGap fetches neighbouring blocks in one read, passes them to all who wait, and keeps them.
func (c *BlockCache) fetchGap(ctx context.Context, name string, gap []blockPart) error {
	data, err := c.Store.Get(ctx, name, gap[0].key.block*blockSize, int64(len(gap))*blockSize)
	if err != nil && ctx.Err() == nil && !errors.Is(err, fs.ErrNotExist) {
		c.setFailed(gap)
	}
	for i := range gap {
		p := &gap[i]
		if err != nil {
			p.flight.err, p.flight.left = err, ctx.Err() != nil
		} else {
			p.flight.data = data[min(i*blockSize, len(data)):min((i+1)*blockSize, len(data))]
			p.take(p.flight.data)
		}
		close(p.flight.done)
	}
	if err != nil {
		return err
	}
	for i := range gap {
		c.files.add(gap[i].key, gap[i].flight.data, &gap[i].flight.stale)
	}
	return nil
}

// maxFailed is how many failed blocks are remembered.
const maxFailed = 1 << 12

func (c *BlockCache) setFailed(gap []blockPart) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.failed) >= maxFailed {
		clear(c.failed)
	}
	for i := range gap {
		c.failed[gap[i].key] = time.Now()
	}
}

// land ends the flights of this call. It ends those that an error has kept from starting as left, for others to make.
func (c *BlockCache) land(ctx context.Context, parts []blockPart) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range parts {
		p := &parts[i]
		if !p.own {
			continue
		}
		select {
		case <-p.flight.done:
		default:
			p.flight.err, p.flight.left = fmt.Errorf("the read was not made: %w", context.Canceled), true
			close(p.flight.done)
		}
		if c.flights[p.key] == p.flight {
			delete(c.flights, p.key)
		}
		p.own = false
	}
}
