package store

import (
	"cmp"
	"context"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// touchEvery is how often a use of a block is written to its file's time, where later runs and other processes see it.
const touchEvery = time.Minute

// tempAge is the age from which a temporary file counts as a leftover. Writing one takes less than a second.
const tempAge = 10 * time.Minute

// A keptBlock is what is known of the file of a block.
type keptBlock struct {
	size    int64     // bytes
	used    time.Time // when it was last read or written, here or elsewhere
	use     int64     // orders uses of one moment
	touched time.Time // the file's time
	walk    int64     // the last walk that may have seen the file
}

// note records that a block was used. mu must be held.
func (f *blockFiles) note(key blockKey, size int64, now time.Time) *keptBlock {
	b := f.kept[key]
	if b == nil {
		b = &keptBlock{touched: now}
		f.kept[key] = b
	}
	f.used, f.unwalked = f.used+size-b.size, f.unwalked+max(size-b.size, 0)
	f.uses++
	b.size, b.used, b.use, b.walk = size, now, f.uses, f.walked
	return b
}

// unnote forgets a block whose file was removed. mu must be held.
func (f *blockFiles) unnote(key blockKey) {
	delete(f.stuck, key)
	if b := f.kept[key]; b != nil {
		f.used -= b.size
		delete(f.kept, key)
	}
}

// use records that a block was read.
func (f *blockFiles) use(key blockKey, size int64) {
	now := time.Now()
	f.mu.Lock()
	b := f.note(key, size, now)
	touch := now.Sub(b.touched) >= touchEvery
	if touch {
		b.touched = now
	}
	f.mu.Unlock()
	if touch {
		_ = os.Chtimes(key.path(f.folder), now, now) // if this fails, the block is only evicted sooner
	}
}

// forget records that a block's file is missing.
func (f *blockFiles) forget(key blockKey) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.unnote(key)
}

// reserve makes room for a block that is about to be written.
func (f *blockFiles) reserve(size int64) {
	f.mu.Lock()
	f.used, f.writing = f.used+size, f.writing+size
	gone := f.evict()
	walk := f.unwalked >= max(f.limit/8, maxFetch)
	f.mu.Unlock()
	f.removeAll(gone)
	if walk {
		select {
		case f.walkNow <- struct{}{}:
		default:
		}
	}
}

// evict forgets the blocks that were not used for the longest time, if there is too much, and returns them for removal.
// It makes room for more than one block, because it sorts. mu must be held.
func (f *blockFiles) evict() (gone []blockKey) {
	if f.used <= f.limit {
		return nil
	}
	keys := make([]blockKey, 0, len(f.kept))
	for key := range f.kept {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b blockKey) int {
		x, y := f.kept[a], f.kept[b]
		return cmp.Or(x.used.Compare(y.used), cmp.Compare(x.use, y.use))
	})
	for _, key := range keys {
		if f.used <= f.limit-f.limit/8 {
			break
		}
		f.used -= f.kept[key].size
		delete(f.kept, key)
		gone = append(gone, key)
	}
	return gone
}

// removeAll removes the files of evicted blocks. If one was written again meanwhile, it goes too, and is fetched again.
func (f *blockFiles) removeAll(gone []blockKey) {
	for _, key := range gone {
		_ = os.Remove(key.path(f.folder)) // the next walk finds what stays
	}
}

// beginWalks looks through the folder in the background, now and whenever enough was added: other processes add and
// remove blocks too.
func (f *blockFiles) beginWalks() {
	ctx, cancel := context.WithCancel(context.Background())
	f.ending = cancel
	f.walks.Go(func() {
		for {
			f.walk(ctx)
			select {
			case <-f.walkNow:
			case <-ctx.Done():
				return
			}
		}
	})
}

// stop ends the walks.
func (f *blockFiles) stop() {
	f.ending()
	f.walks.Wait()
}

// A foundBlock is the file of a block as a walk finds it.
type foundBlock struct {
	key  blockKey
	size int64 // bytes
	time time.Time
}

// walk finds all blocks, sweeps leftovers, and removes what exceeds the limit. It leaves every other file alone.
func (f *blockFiles) walk(ctx context.Context) {
	f.mu.Lock()
	f.walked++
	f.unwalked = 0
	f.mu.Unlock()
	dirs, err := os.ReadDir(f.folder)
	if err != nil {
		return
	}
	var found []foundBlock
	for _, dir := range dirs {
		entries, err := os.ReadDir(filepath.Join(f.folder, dir.Name()))
		if len(dir.Name()) != 2 || err != nil {
			continue
		}
		for _, e := range entries {
			if ctx.Err() != nil {
				return
			}
			if b, ok := f.look(dir.Name(), e); ok {
				found = append(found, b)
			}
		}
	}
	f.mu.Lock()
	f.merge(found)
	gone := f.evict()
	f.mu.Unlock()
	f.removeAll(gone)
}

// look returns what a file in one of the folders is, and removes it if it is a leftover.
func (f *blockFiles) look(dir string, e os.DirEntry) (b foundBlock, ok bool) {
	key, ok := parseBlockKey(dir, e.Name())
	if !ok && !isTemp(e.Name()) {
		return b, false
	}
	info, err := e.Info()
	if err != nil || !info.Mode().IsRegular() {
		return b, false
	}
	if !ok {
		if time.Since(info.ModTime()) > tempAge {
			_ = os.Remove(filepath.Join(f.folder, dir, e.Name())) // the next walk tries again
		}
		return b, false
	}
	at := info.ModTime()
	if now := time.Now(); at.After(now) { // a clock that was set back must not keep the block for ever
		at = now
	}
	return foundBlock{key, info.Size(), at}, true
}

// merge takes over what a walk has found. It forgets blocks that the walk should have found and did not. mu must be held.
func (f *blockFiles) merge(found []foundBlock) {
	for _, at := range found {
		b := f.kept[at.key]
		if b == nil {
			b = &keptBlock{}
			f.kept[at.key] = b
		}
		if at.time.After(b.used) {
			b.used, b.use = at.time, 0
		}
		f.used += at.size - b.size
		b.size, b.touched, b.walk = at.size, at.time, f.walked
	}
	for key, b := range f.kept {
		if b.walk < f.walked {
			f.unnote(key)
		}
	}
}
