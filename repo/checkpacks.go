package repo

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/zeebo/blake3"
	"golang.org/x/sync/errgroup"

	"platter/chunk"
	"platter/index"
	"platter/pack"
	"platter/repo/layout"
)

// packs compares every pack with the index and reads the chosen ones. It skips packs that are not needed and that a
// marker condemns.
func (c *checker) packs(ctx context.Context, s *sight) error {
	c.noted = s.work.Damaged()
	condemned := 0
	orphans := map[pack.FileID]bool{}
	var all []due
	for id, size := range s.packs {
		t, ok := s.tables[id]
		switch {
		case ok:
			all = append(all, due{id: id, size: size, whole: size == t.Size})
		case s.condemned[id]:
			condemned++
		default:
			if all = append(all, due{id: id, size: size, whole: true}); !c.noted[id] {
				orphans[id] = true
			}
		}
	}
	if condemned > 0 {
		c.note("unneeded packs that a prune is about to delete: %d; the next prune finishes that", condemned)
	}
	all = c.choose(all, s)
	defer c.log.save()
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(c.repo.workers)
	for _, d := range all {
		g.Go(func() error {
			if t, ok := s.tables[d.id]; ok {
				if whole := c.pack(ctx, t, d.size, d.deep); !whole {
					c.tryMending(ctx, t)
				}
				if d.deep {
					c.readParity(ctx, d.id)
				}
			} else {
				c.orphan(ctx, index.Pack{ID: d.id, Size: d.size}, d.deep)
			}
			return ctx.Err()
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	maps.DeleteFunc(orphans, func(id pack.FileID, _ bool) bool { return c.missingWhenRead[id] })
	if len(orphans) > 0 {
		c.note("packs in no index file, as an interrupted backup leaves them: %d; the next backup or 'repair index' adopts them", len(orphans))
	}
	return nil
}

// orphan checks an orphaned pack by its own table.
func (c *checker) orphan(ctx context.Context, p index.Pack, deep bool) {
	table, err := c.repo.readTable(ctx, p.ID, p.Size)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		c.packFailed(p.ID, fmt.Errorf("it is in no index, and its own table cannot be read: %w", err))
	case deep:
		p := index.PackTable{Pack: p, Table: table}
		if whole := c.read(ctx, p, p.Size); !whole {
			c.tryMending(ctx, p)
		}
		c.readParity(ctx, p.ID)
	}
}

// packFailed records that nothing in a pack can be relied on.
func (c *checker) packFailed(id pack.FileID, why error) {
	if c.noteMissing(id, why) {
		return
	}
	err := fmt.Errorf("%s: %w", layout.PackName(id), why)
	c.packDamage(id, err)
	c.hint(hintCopy)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report.packErrs[id] = err
}

// pack checks one pack and reports whether it found no damage.
func (c *checker) pack(ctx context.Context, p index.PackTable, size int64, deep bool) (whole bool) {
	if size != p.Size {
		c.packFailed(p.ID, fmt.Errorf("%w: %d bytes, but the index says %d", pack.ErrDamaged, size, p.Size))
		return false
	}
	table, err := c.repo.readTable(ctx, p.ID, size)
	switch {
	case ctx.Err() != nil:
		return true
	case c.noteMissing(p.ID, err):
		return true
	case err != nil:
		// The index holds a copy of the table, so the chunks can still be read.
		c.packDamage(p.ID, fmt.Errorf("%s: its own table cannot be read, so the table in the index is used: %w", layout.PackName(p.ID), err))
		c.hint(hintCopy)
	case !slices.Equal(table.Frames, p.Table.Frames) || !slices.Equal(table.Chunks, p.Table.Chunks):
		c.packFailed(p.ID, fmt.Errorf("%w: its table and the index list different contents", pack.ErrDamaged))
		return false
	}
	if deep {
		return c.read(ctx, p, size) && err == nil
	}
	return err == nil
}

func (r *Repo) readTable(ctx context.Context, id pack.FileID, size int64) (*pack.Table, error) {
	return pack.ReadTable(size, r.keys, func(off, n int64) ([]byte, error) { return r.view().store.Get(ctx, layout.PackName(id), off, n) })
}

// A packReader reads a pack from its first byte to its last.
type packReader struct {
	ctx  context.Context // io.Reader has no parameter for a context
	repo *Repo
	id   pack.FileID
	off  int64
}

func (r *packReader) Read(p []byte) (int, error) {
	data, err := r.repo.view().store.Get(r.ctx, layout.PackName(r.id), r.off, int64(len(p)))
	n := copy(p, data)
	if r.off += int64(n); err == nil && n == 0 {
		err = io.EOF
	}
	return n, err
}

// readBlock is how much of a pack is read at once, in bytes. It hides the frame boundaries from an observer of the
// store.
const readBlock = 4 << 20

// read reads a pack from its first byte to its last and reports whether it found no damage.
func (c *checker) read(ctx context.Context, p index.PackTable, size int64) (whole bool) {
	sum := blake3.New()
	in := io.TeeReader(bufio.NewReaderSize(&packReader{ctx: ctx, repo: c.repo, id: p.ID}, int(min(size, readBlock))), sum)
	var part, raw []byte // reused for each frame
	next := func(n int64) ([]byte, error) {
		part = slices.Grow(part[:0], int(n))[:n]
		_, err := io.ReadFull(in, part)
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			err = fmt.Errorf("%w: it ends too soon", pack.ErrDamaged)
		}
		return part, err
	}
	if _, err := next(pack.HeaderSize); err != nil {
		c.packFailed(p.ID, err)
		return false
	}
	off, refs := int64(pack.HeaderSize), p.Table.Chunks
	namers := map[chunk.Kind]*chunk.Namer{chunk.Data: c.repo.Namer(chunk.Data), chunk.Map: c.repo.Namer(chunk.Map)}
	defer c.repo.Return(chunk.Data, namers[chunk.Data])
	defer c.repo.Return(chunk.Map, namers[chunk.Map])
	for _, f := range p.Table.Frames {
		sealed, err := next(int64(f.Sealed))
		if ctx.Err() != nil {
			return true
		}
		if err != nil {
			c.packFailed(p.ID, err)
			return false
		}
		if c.opens(p.ID) {
			raw = c.frame(p.ID, off, raw, sealed, f, refs[:f.Chunks], namers[f.Kind])
		}
		off, refs = off+int64(f.Sealed), refs[f.Chunks:]
		c.progress.Add(int64(len(sealed)))
	}
	if _, err := next(size - off); err != nil {
		c.packFailed(p.ID, err)
		return false
	}
	c.progress.Add(size - off + pack.HeaderSize)
	c.mu.Lock()
	c.report.ReadBytes += size
	c.report.PacksRead++
	c.mu.Unlock()
	if pack.FileID(sum.Sum(nil)) == p.ID {
		c.readWell(p.ID)
	} else {
		c.packDamage(p.ID, fmt.Errorf("%s: %w: its bytes do not match its name", layout.PackName(p.ID), pack.ErrDamaged))
		c.hint(hintCopy)
		if !c.opts.ReadData {
			c.hint("run 'platter check --read-data' to learn which versions and which byte ranges that costs")
		}
		return false
	}
	return true
}

// frame opens a frame, in raw's memory, and verifies its chunks.
func (c *checker) frame(id pack.FileID, off int64, raw, sealed []byte, f pack.Frame, refs []pack.Ref, namer *chunk.Namer) []byte {
	opened, err := c.repo.decoder.Decode(raw, sealed, f)
	if err != nil {
		err = fmt.Errorf("%s: frame at %d: %w", layout.PackName(id), off, err)
		c.packDamage(id, err)
		c.hint(hintCopy)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.report.frameErrs[frameKey{id, off}] = err
		return raw
	}
	rest := opened
	for _, ref := range refs {
		if namer.ID(rest[:ref.Len]) != ref.ID {
			err := fmt.Errorf("%s: frame at %d: %w: it does not hold chunk %v", layout.PackName(id), off, pack.ErrDamaged, ref.ID)
			c.packDamage(id, err)
			c.mu.Lock()
			c.report.chunkErrs[placeKey{frameKey{id, off}, ref.ID}] = err
			c.mu.Unlock()
		}
		rest = rest[ref.Len:]
	}
	return opened
}
