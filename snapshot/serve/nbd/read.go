package nbd

import (
	"context"
	"fmt"
	"io"

	"platter/snapshot/image"
	"platter/snapshot/image/nbd/wire"
)

const (
	// pieceLen is how much of a structured reply is in memory at once.
	pieceLen = 1 << 20 // bytes
	// smallRead is the length up to which a read is answered as data, without a look for holes.
	smallRead = 16 << 10 // bytes
	// smallHole is the least length of a hole in a reply: less costs more than it saves.
	smallHole = 4096 // bytes
	// prefetchMax is the most that one CACHE reads.
	prefetchMax = 32 << 20 // bytes
)

// read answers a CmdRead.
func (c *conn) read(ctx context.Context, r wire.Request) {
	c.srv.Stats.Reads.Add(1)
	ranges, ok := image.As[image.RangeReader](c.export.Disk)
	if r.Len == 0 || r.Len <= smallRead || !c.structured || r.Flags&wire.FlagDF != 0 {
		c.readWhole(ctx, r)
		return
	}
	for off, end := int64(r.Off), int64(r.Off)+int64(r.Len); off < end; {
		n := min(pieceLen, end-off)
		extents := []image.Extent{{Off: off, Len: n}}
		if ok {
			var err error
			if extents, err = holesIn(ctx, ranges, off, n); err != nil {
				c.failAt(ctx, r, err, &off)
				return
			}
		}
		if !c.readPiece(ctx, r, extents, off+n == end) {
			return
		}
		off += n
	}
}

// readWhole answers a read with one piece of data.
func (c *conn) readWhole(ctx context.Context, r wire.Request) {
	n := int(r.Len)
	var header [wire.ChunkLen + 8]byte
	var head []byte
	switch {
	case !c.structured:
		head = wire.SimpleReply{Cookie: r.Cookie}.Append(header[:0])
	case n == 0: // a chunk of data is never empty
		head = wire.Chunk{Flags: wire.ChunkDone, Type: wire.ChunkNone, Cookie: r.Cookie}.Append(header[:0])
	default:
		head = appendData(header[:0], r, wire.ChunkDone, int64(r.Off), n)
	}
	buf, err := c.srv.buffers.get(ctx, c.room, n)
	if err != nil {
		c.fail(ctx, r, err)
		return
	}
	if _, err := c.readAt(ctx, buf.data(n), int64(r.Off)); err != nil {
		c.srv.buffers.put(c.room, buf)
		c.fail(ctx, r, err)
		return
	}
	c.srv.Stats.ReadBytes.Add(int64(n))
	c.out.send(reply{parts: [][]byte{buf.framed(head, n)}, buf: buf, last: true})
}

// readPiece sends a chunk for each extent. It waits until they are sent unless they are the last, so that a request holds
// the memory of one piece at most. It reports false if it has answered the request with an error.
func (c *conn) readPiece(ctx context.Context, r wire.Request, extents []image.Extent, last bool) bool {
	data, total := 0, int64(0)
	for _, e := range extents {
		total += e.Len
		if !e.Zero {
			data += int(e.Len)
		}
	}
	rep := reply{last: last}
	var room []byte
	if data > 0 {
		var err error
		if rep.buf, err = c.srv.buffers.get(ctx, c.room, data); err != nil {
			c.fail(ctx, r, err)
			return false
		}
		room = rep.buf.data(data)
	}
	headers := make([]byte, 0, len(extents)*(wire.ChunkLen+12))
	for i, e := range extents {
		flags := uint16(0)
		if last && i == len(extents)-1 {
			flags = wire.ChunkDone
		}
		start := len(headers)
		if e.Zero {
			headers = appendHole(headers, r, flags, e.Off, int(e.Len))
			rep.parts = append(rep.parts, headers[start:])
			continue
		}
		p := room[:e.Len]
		room = room[e.Len:]
		if n, err := c.readAt(ctx, p, e.Off); err != nil {
			c.srv.buffers.put(c.room, rep.buf)
			at := e.Off + int64(n)
			c.failAt(ctx, r, err, &at)
			return false
		}
		headers = appendData(headers, r, flags, e.Off, len(p))
		rep.parts = append(rep.parts, headers[start:], p)
	}
	c.srv.Stats.ReadBytes.Add(total)
	if !last {
		rep.sent = make(chan struct{})
	}
	c.out.send(rep)
	if !last {
		<-rep.sent
	}
	return true
}

// readAt fills p, or returns an error and how many bytes before it are good, fewer than p has.
func (c *conn) readAt(ctx context.Context, p []byte, off int64) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n, err := image.ReadAt(ctx, c.export.Disk, p, off)
	if n == len(p) {
		return n, nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, fmt.Errorf("read %d bytes at %d: %w", len(p), off, err)
}

// holesIn returns the extents of n bytes at off. Small holes count as data.
func holesIn(ctx context.Context, d image.RangeReader, off, n int64) ([]image.Extent, error) {
	var found []image.Extent
	for e, err := range inward(d.ExtentsIn(ctx, off, n), off, n, smallHole) {
		if err != nil {
			return nil, fmt.Errorf("extents at %d: %w", off, err)
		}
		found = append(found, e)
	}
	return found, nil
}

// prefetch answers a CmdCache: it reads data so that it is in the caches of the disk.
func (c *conn) prefetch(ctx context.Context, r wire.Request) {
	n := min(int64(r.Len), prefetchMax)
	for e, err := range image.ExtentsIn(ctx, c.export.Disk, int64(r.Off), n) {
		if err != nil {
			c.fail(ctx, r, err)
			return
		}
		for off := e.Off; !e.Zero && off < e.Off+e.Len; off += pieceLen {
			n := int(min(pieceLen, e.Off+e.Len-off))
			buf, err := c.srv.buffers.get(ctx, c.room, n)
			if err == nil {
				_, err = c.readAt(ctx, buf.data(n), off)
				c.srv.buffers.put(c.room, buf)
			}
			if err != nil {
				c.fail(ctx, r, err)
				return
			}
		}
	}
	c.succeed(r)
}
