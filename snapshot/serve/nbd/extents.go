package nbd

import (
	"context"
	"encoding/binary"
	"fmt"
	"iter"
	"math"

	"platter/snapshot/image"
	"platter/snapshot/image/nbd/wire"
)

const (
	statusUnit = 512       // bytes; holes in a block status are multiples of it where possible
	statusMax  = 8<<10 - 1 // descriptors in one block status
)

// blockStatus answers a CmdBlockStatus with the states of the context base:allocation.
//
//	4 context ID | each extent: 4 length, 4 state
func (c *conn) blockStatus(ctx context.Context, r wire.Request) {
	buf, err := c.srv.buffers.get(ctx, c.room, 4+8*statusMax)
	if err != nil {
		c.fail(ctx, r, err)
		return
	}
	most := statusMax
	if r.Flags&wire.FlagReqOne != 0 {
		most = 1
	}
	b := binary.BigEndian.AppendUint32(buf.data(0), contextID)
	for e, err := range inward(image.ExtentsIn(ctx, c.export.Disk, int64(r.Off), int64(r.Len)), int64(r.Off), int64(r.Len), statusUnit) {
		if err != nil {
			c.srv.buffers.put(c.room, buf)
			c.fail(ctx, r, fmt.Errorf("extents at %d: %w", r.Off, err))
			return
		}
		state := uint32(0)
		if e.Zero {
			state = wire.StateHole | wire.StateZero
		}
		b = binary.BigEndian.AppendUint32(b, uint32(min(e.Len, math.MaxUint32)))
		b = binary.BigEndian.AppendUint32(b, state)
		if most--; most == 0 {
			break
		}
	}
	if len(b) == 4 {
		c.srv.buffers.put(c.room, buf)
		c.fail(ctx, r, fmt.Errorf("extents at %d: the disk named none", r.Off))
		return
	}
	head := wire.Chunk{Flags: wire.ChunkDone, Type: wire.ChunkBlockStatus, Cookie: r.Cookie, Len: uint32(len(b))}
	c.out.send(reply{parts: [][]byte{buf.framed(head.Append(nil), len(b))}, buf: buf, last: true})
}

// inward yields extents of n bytes at off, with neighbours of a kind joined, and with holes cut down to whole units.
// Holes that are left with less than a unit become data. The ends of the range need not be multiples of the unit.
func inward(extents iter.Seq2[image.Extent, error], off, n, unit int64) iter.Seq2[image.Extent, error] {
	end := off + n
	return image.Joined(func(yield func(image.Extent, error) bool) {
		for e, err := range image.Joined(extents) {
			if err != nil || !e.Zero {
				if !yield(e, err) || err != nil {
					return
				}
				continue
			}
			from, to := e.Off, e.Off+e.Len
			if from != off {
				from = (from + unit - 1) / unit * unit
			}
			if to != end {
				to = to / unit * unit
			}
			if to-from < min(unit, n) {
				from, to = e.Off, e.Off
			}
			for _, part := range [...]image.Extent{
				{Off: e.Off, Len: from - e.Off}, {Off: from, Len: to - from, Zero: true}, {Off: to, Len: e.Off + e.Len - to},
			} {
				if !yield(part, nil) {
					return
				}
			}
		}
	})
}
