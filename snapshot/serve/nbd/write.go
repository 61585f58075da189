package nbd

import (
	"context"
	"fmt"

	"platter/snapshot/image/nbd/wire"
)

// run serves a request that check has accepted.
func (c *conn) run(ctx context.Context, r wire.Request, data *buffer) {
	switch r.Command {
	case wire.CmdRead:
		c.read(ctx, r)
	case wire.CmdCache:
		c.prefetch(ctx, r)
	case wire.CmdBlockStatus:
		c.blockStatus(ctx, r)
	default:
		c.write(ctx, r, data)
	}
}

// write answers the commands that change the disk, and CmdFlush.
func (c *conn) write(ctx context.Context, r wire.Request, data *buffer) {
	w, off, n := c.export.Writable, int64(r.Off), int64(r.Len)
	var err error
	switch r.Command {
	case wire.CmdWrite:
		_, err = w.WriteAt(data.data(int(r.Len)), off)
		c.srv.buffers.put(c.room, data)
	case wire.CmdWriteZeroes:
		if r.Flags&wire.FlagNoHole == 0 {
			err = w.Zero(off, n)
			break
		}
		if r.Flags&wire.FlagFastZero != 0 {
			c.refuse(r, wire.ENOTSUP) // zeros that take room are written like data
			return
		}
		err = c.writeZeros(ctx, off, n)
	case wire.CmdTrim:
		err = w.Zero(off, n)
	}
	if r.Command != wire.CmdFlush {
		c.srv.Stats.Writes.Add(1)
	}
	if err == nil && w != nil && (r.Command == wire.CmdFlush || r.Flags&wire.FlagFUA != 0) {
		err = w.Sync()
	}
	if err != nil {
		c.fail(ctx, r, fmt.Errorf("write %d bytes at %d: %w", n, off, err))
		return
	}
	if r.Command != wire.CmdFlush {
		c.srv.Stats.WriteBytes.Add(n)
	}
	c.succeed(r)
}

// writeZeros writes zeros as data, so that their room is taken.
func (c *conn) writeZeros(ctx context.Context, off, n int64) error {
	if n == 0 {
		return nil
	}
	buf, err := c.srv.buffers.get(ctx, c.room, int(min(n, pieceLen)))
	if err != nil {
		return err
	}
	defer c.srv.buffers.put(c.room, buf)
	clear(buf.data(int(min(n, pieceLen))))
	for end := off + n; off < end; off += pieceLen {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if _, err := c.export.Writable.WriteAt(buf.data(int(min(pieceLen, end-off))), off); err != nil {
			return err
		}
	}
	return nil
}
