package virtual

import (
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/sync/errgroup"

	"platter/chunk"
)

// A grain is what a format allocates at once: a cluster, a block.
type grain struct {
	index int64
	data  []byte // of the full length; zeros past the disk's end
	coded []byte // what encode made of it; nil without encode
}

// grains gathers a disk that comes from its first byte to its last into grains, and hands on those that are not all
// zeros, in order. They are encoded a batch at a time on all cores.
type grains struct {
	size   int64                             // of the disk, in bytes
	len    int                               // of a grain, in bytes
	encode func(data []byte) ([]byte, error) // nil: they stay as they are
	put    func(g grain) error               // may keep nothing of g

	at    int64 // bytes of the disk so far
	batch []grain
	fill  int // bytes that the last of batch holds so far; 0: it is full or there is none
}

// batchLen is how many bytes of grains are held at a time.
const batchLen = 8 << 20

// Write takes the next bytes of the disk.
func (g *grains) Write(p []byte) (int, error) {
	if int64(len(p)) > g.size-g.at {
		return 0, errors.New("more bytes than the disk has")
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

// Skip says that the next n bytes are zeros.
func (g *grains) Skip(n int64) error {
	if n < 0 || n > g.size-g.at {
		return errors.New("more bytes than the disk has")
	}
	if g.fill > 0 { // the grain is zeros already from here on
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

// next begins a grain at g.at, which is where one begins.
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

// flush hands the batch on.
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

// close hands on what is left; an error unless all of the disk was written.
func (g *grains) close() error {
	if g.at != g.size {
		return fmt.Errorf("%d bytes of the disk were written of %d", g.at, g.size)
	}
	return g.flush()
}
