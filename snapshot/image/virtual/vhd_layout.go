package virtual

import (
	"errors"
	"fmt"
	"io"

	"platter/snapshot/image"
)

// A vhdLayout says which blocks of a disk will be in the file. Tables come before the blocks, so writing a file
// sequentially requires knowing that in advance.
type vhdLayout struct {
	blocks int64
	bits   []uint64
}

// layOutVHD chooses the blocks that may hold data; all of them if the extents are unknown.
func layOutVHD(c *creation, blockLen int64) (*vhdLayout, error) {
	p := &vhdLayout{blocks: (c.size + blockLen - 1) / blockLen}
	p.bits = make([]uint64, (p.blocks+63)/64)
	extents := c.Extents
	if extents == nil {
		extents = image.Sparse{Bytes: c.size, Fills: []image.Fill{{Len: c.size}}}.Extents
	}
	for e, err := range extents() {
		if err != nil {
			return nil, fmt.Errorf("find the disk's data: %w", err)
		}
		if e.Off < 0 || e.Len < 0 || e.Len > c.size-e.Off {
			return nil, fmt.Errorf("extent of %d bytes at %d in a disk of %d", e.Len, e.Off, c.size)
		}
		if e.Zero || e.Len == 0 {
			continue
		}
		for i := e.Off / blockLen; i <= (e.Off+e.Len-1)/blockLen; i++ {
			p.bits[i/64] |= 1 << (i % 64)
		}
	}
	return p, nil
}

func (p *vhdLayout) has(block int64) bool { return p.bits[block/64]>>(block%64)&1 != 0 }

// A vhdWriter writes the blocks of a layout in order, and then the end of the file.
type vhdWriter struct {
	grains
	layout *vhdLayout
	out    io.Writer
	before []byte // written before each block
	end    []byte
	next   int64 // the first block not processed yet
	zeros  []byte
}

var _ Writer = (*vhdWriter)(nil)

func newVHDWriter(c *creation, layout *vhdLayout, blockLen int, before, end []byte) *vhdWriter {
	w := &vhdWriter{layout: layout, out: c.Writer, before: before, end: end}
	w.grains = grains{size: c.size, len: blockLen, put: func(g grain) error {
		if err := w.fill(g.index); err != nil {
			return err
		}
		if !layout.has(g.index) {
			return errors.New("there is data where the disk's extents have none: did it change meanwhile?")
		}
		w.next++
		return w.block(g.data)
	}}
	return w
}

// fill writes the blocks of the layout before end that turned out to be zeros.
func (w *vhdWriter) fill(end int64) error {
	for ; w.next < end; w.next++ {
		if !w.layout.has(w.next) {
			continue
		}
		if w.zeros == nil {
			w.zeros = make([]byte, w.grains.len)
		}
		if err := w.block(w.zeros); err != nil {
			return err
		}
	}
	return nil
}

func (w *vhdWriter) block(data []byte) error {
	if len(w.before) > 0 {
		if _, err := w.out.Write(w.before); err != nil {
			return err
		}
	}
	_, err := w.out.Write(data)
	return err
}

func (w *vhdWriter) Close() error {
	if err := w.grains.close(); err != nil {
		return err
	}
	if err := w.fill(w.layout.blocks); err != nil || len(w.end) == 0 {
		return err
	}
	_, err := w.out.Write(w.end)
	return err
}
