package virtual

import (
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/sync/errgroup"

	"platter/chunk"
)

// A grain is a format's unit of allocation: a cluster or a block.
type grain struct {
	index int64
	data  []byte // of full length; zeros past the disk's end
	coded []byte // the result of encode; nil without encode
}

// grains collects a sequentially written disk into grains, and passes on those that are not all zeros, in order. It
// encodes a batch at a time on all cores.
type grains struct {
	size   int64                             // of the disk, in bytes
	len    int                               // of a grain, in bytes
	encode func(data []byte) ([]byte, error) // nil if grains stay as they are
	put    func(g grain) error               // must not retain anything of g

	at    int64 // bytes of the disk so far
	batch []grain
	fill  int // bytes in the batch's last grain so far; 0 if it is full or there is none
}

// batchLen is the length of a batch of grains, in bytes.
const batchLen = 8 << 20

// Write writes the next bytes of the disk.
func (g *grains) Write(p []byte) (int, error) {
	if int64(len(p)) > g.size-g.at {
		return 0, errors.New("write past the end of the disk")
	}
	n := 0
	for n < len(p) {
		if g.fill == 0 {
			if err := g.next(); err != nil {
				return n, err
			}
		}
		last := &g.batch[len(g.batch)-1]
		m := copy(last.data[g.fill:], p[n:])
		n, g.at, g.fill = n+m, g.at+int64(m), (g.fill+m)%g.len
	}
	return n, nil
}

// Skip writes n zeros.
func (g *grains) Skip(n int64) error {
	if n < 0 || n > g.size-g.at {
		return errors.New("write past the end of the disk")
	}
	if g.fill > 0 { // the rest of the grain is already zeros
		m := int(min(n, int64(g.len-g.fill)))
		n, g.at, g.fill = n-int64(m), g.at+int64(m), (g.fill+m)%g.len
	}
	whole := n / int64(g.len) * int64(g.len)
	g.at, n = g.at+whole, n-whole
	if n == 0 || g.at+n == g.size {
		g.at += n
		return nil
	}
	if err := g.next(); err != nil {
		return err
	}
	g.at, g.fill = g.at+n, int(n)
	return nil
}

// next starts a grain at g.at, which is aligned to grains.
func (g *grains) next() error {
	if len(g.batch)*g.len >= batchLen {
		if err := g.flush(); err != nil {
			return err
		}
	}
	if len(g.batch) == cap(g.batch) {
		g.batch = append(g.batch, grain{})
	} else {
		g.batch = g.batch[:len(g.batch)+1]
	}
	last := &g.batch[len(g.batch)-1]
	if last.index = g.at / int64(g.len); last.data == nil {
		last.data = make([]byte, g.len)
	} else {
		clear(last.data)
	}
	return nil
}

// flush encodes the batch and passes it on.
func (g *grains) flush() error {
	if g.encode != nil {
		var all errgroup.Group
		all.SetLimit(runtime.GOMAXPROCS(0))
		for i := range g.batch {
			b := &g.batch[i]
			if b.coded = nil; chunk.IsZero(b.data) {
				continue
			}
			all.Go(func() (err error) {
				b.coded, err = g.encode(b.data)
				return err
			})
		}
		if err := all.Wait(); err != nil {
			return err
		}
	}
	for _, b := range g.batch {
		if chunk.IsZero(b.data) {
			continue
		}
		if err := g.put(b); err != nil {
			return err
		}
	}
	g.batch = g.batch[:0]
	return nil
}

// close passes on the last batch. It returns an error unless the whole disk was written.
func (g *grains) close() error {
	if g.at != g.size {
		return fmt.Errorf("only %d of %d bytes of the disk were written", g.at, g.size)
	}
	return g.flush()
}
