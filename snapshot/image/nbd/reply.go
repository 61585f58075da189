package nbd

import (
	"encoding/binary"
	"fmt"
	"io"
	"io/fs"
	"syscall"

	"platter/snapshot/image"
	"platter/snapshot/image/nbd/wire"
)

// A ServerError is an error that the server returned for a request. EIO wraps syscall.EIO, so that it is a media error.
type ServerError struct {
	Number wire.Errno
	Text   string // what the server says about it; may be ""
}

func (e *ServerError) Error() string {
	text := fmt.Sprintf("the NBD server returned error %d", e.Number)
	if inner := e.Unwrap(); inner != nil {
		text = fmt.Sprintf("the NBD server returned an error: %v", inner)
	}
	if e.Text != "" {
		text += fmt.Sprintf("; it says %q", e.Text)
	}
	return text
}

// Unwrap returns the system's error of the same meaning.
func (e *ServerError) Unwrap() error {
	switch e.Number {
	case wire.EIO:
		return syscall.EIO
	case wire.EPERM:
		return fs.ErrPermission
	case wire.EINVAL:
		return syscall.EINVAL
	case wire.ESHUTDOWN:
		return syscall.ESHUTDOWN
	}
	return nil
}

// receive reads replies until the connection ends or the server breaks the protocol.
func (c *conn) receive() error {
	for {
		magic, err := c.in.Peek(4)
		if err != nil {
			return err
		}
		switch binary.BigEndian.Uint32(magic) {
		case wire.SimpleReplyMagic:
			err = c.simple()
		case wire.ReplyChunkMagic:
			err = c.chunk()
		default:
			err = fmt.Errorf("%w: a reply does not begin with a magic number", wire.ErrMalformed)
		}
		if err != nil {
			return err
		}
	}
}

// of returns the call that a reply is for.
func (c *conn) of(cookie uint64) (*call, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k, ok := c.pending[cookie]
	if !ok {
		return nil, fmt.Errorf("%w: a reply to nothing that was asked", wire.ErrMalformed)
	}
	return k, nil
}

// simple reads a simple reply.
func (c *conn) simple() error {
	var b [wire.SimpleReplyLen]byte
	if _, err := io.ReadFull(c.in, b[:]); err != nil {
		return err
	}
	r := wire.ParseSimpleReply(b[:])
	k, err := c.of(r.Cookie)
	if err != nil {
		return err
	}
	switch {
	case r.Error != 0 && (k.command != wire.CmdRead || !c.structured):
		k.err = &ServerError{Number: r.Error}
	case c.structured || k.command != wire.CmdRead:
		return fmt.Errorf("%w: a simple reply to a request with data", wire.ErrMalformed)
	default:
		if err := c.data(k, k.off, k.n); err != nil {
			return err
		}
	}
	return c.conclude(k)
}

// chunk reads a chunk of a structured reply.
func (c *conn) chunk() error {
	if !c.structured {
		return fmt.Errorf("%w: a structured reply, which was not agreed on", wire.ErrMalformed)
	}
	var b [wire.ChunkLen]byte
	if _, err := io.ReadFull(c.in, b[:]); err != nil {
		return err
	}
	h := wire.ParseChunk(b[:])
	k, err := c.of(h.Cookie)
	if err != nil {
		return err
	}
	done := h.Flags&wire.ChunkDone != 0
	switch {
	case h.Type == wire.ChunkNone && h.Len == 0 && done:
	case h.Type == wire.ChunkOffsetData && h.Len > 8 && k.command == wire.CmdRead:
		err = c.offsetData(k, int64(h.Len)-8)
	case h.Type == wire.ChunkOffsetHole && h.Len == 12 && k.command == wire.CmdRead:
		err = c.offsetHole(k)
	case h.Type == wire.ChunkBlockStatus && h.Len >= 12 && h.Len%8 == 4 && k.command == wire.CmdBlockStatus:
		err = c.blockStatus(k, (h.Len-4)/8)
	case h.Type&wire.ChunkIsError != 0 && h.Len >= 6 && h.Len <= 2*wire.MaxName:
		err = c.errorChunk(k, int(h.Len))
	default:
		err = fmt.Errorf("%w: a chunk of type %d and %d bytes as a reply to command %d", wire.ErrMalformed, h.Type, h.Len, k.command)
	}
	if err == nil && done {
		err = c.conclude(k)
	}
	return err
}

// offsetData reads a chunk with n bytes of data.
func (c *conn) offsetData(k *call, n int64) error {
	var b [8]byte
	if _, err := io.ReadFull(c.in, b[:]); err != nil {
		return err
	}
	return c.data(k, int64(binary.BigEndian.Uint64(b[:])), n)
}

// data reads n bytes of the disk at off into the call's memory.
func (c *conn) data(k *call, off, n int64) error {
	at, err := k.claim(off, n)
	if err != nil {
		return err
	}
	for n > 0 {
		if _, err := c.in.Peek(1); err != nil {
			return err
		}
		b, err := c.in.Peek(int(min(n, int64(c.in.Buffered()))))
		if err != nil {
			return err
		}
		c.mu.Lock()
		if k.p != nil {
			copy(k.p[at:], b)
		}
		c.mu.Unlock()
		_, _ = c.in.Discard(len(b)) // they are in the buffer
		at, n = at+int64(len(b)), n-int64(len(b))
	}
	return nil
}

// offsetHole reads a chunk that says where zeros are.
func (c *conn) offsetHole(k *call) error {
	var b [12]byte
	if _, err := io.ReadFull(c.in, b[:]); err != nil {
		return err
	}
	n := int64(binary.BigEndian.Uint32(b[8:]))
	at, err := k.claim(int64(binary.BigEndian.Uint64(b[:])), n)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if k.p != nil {
		clear(k.p[at : at+n])
	}
	return nil
}

// claim notes that n bytes at off have arrived, and returns their place in the call's memory.
func (k *call) claim(off, n int64) (at int64, err error) {
	at = off - k.off
	if n <= 0 || at < 0 || off < 0 || at > k.n || n > k.n-at || !k.got.add(at, at+n) {
		return 0, fmt.Errorf("%w: %d bytes at %d in reply to a read of %d at %d, or for the second time",
			wire.ErrMalformed, n, off, k.n, k.off)
	}
	return at, nil
}

// blockStatus reads the extents of a block status. All but the last one end within what was asked for.
func (c *conn) blockStatus(k *call, count uint32) error {
	var b [8]byte
	if _, err := io.ReadFull(c.in, b[:4]); err != nil {
		return err
	}
	if id := binary.BigEndian.Uint32(b[:]); id != c.contextID || len(k.extents) > 0 || count > wire.MaxExtents {
		return fmt.Errorf("%w: %d extents of context %d", wire.ErrMalformed, count, id)
	}
	for off := k.off; count > 0; count-- {
		if _, err := io.ReadFull(c.in, b[:]); err != nil {
			return err
		}
		e := image.Extent{
			Off: off, Len: int64(binary.BigEndian.Uint32(b[:])),
			Zero: binary.BigEndian.Uint32(b[4:])&wire.StateZero != 0,
		}
		if e.Len == 0 || off >= k.off+k.n {
			return fmt.Errorf("%w: an extent of %d bytes at %d", wire.ErrMalformed, e.Len, off)
		}
		off += e.Len
		if last := len(k.extents) - 1; last >= 0 && k.extents[last].Zero == e.Zero {
			k.extents[last].Len += e.Len
			continue
		}
		k.extents = append(k.extents, e)
	}
	return nil
}

// errorChunk reads an error. Of several the first counts.
//
//	4 error | 2 length of text | text | 8 offset, in some
func (c *conn) errorChunk(k *call, n int) error {
	b := make([]byte, n)
	if _, err := io.ReadFull(c.in, b); err != nil {
		return err
	}
	text := int(binary.BigEndian.Uint16(b[4:]))
	if text > n-6 {
		return fmt.Errorf("%w: the text of an error is cut short", wire.ErrMalformed)
	}
	if k.err == nil {
		k.err = &ServerError{Number: wire.Errno(binary.BigEndian.Uint32(b)), Text: wire.Text(string(b[6 : 6+text]))}
	}
	return nil
}

// conclude ends a call after the last part of its reply.
func (c *conn) conclude(k *call) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pending[k.cookie] != k {
		return nil // the connection has failed meanwhile
	}
	switch {
	case k.err != nil:
	case k.command == wire.CmdRead && k.got.total != k.n:
		return fmt.Errorf("%w: %d bytes in reply to a read of %d", wire.ErrMalformed, k.got.total, k.n)
	case k.command == wire.CmdBlockStatus && len(k.extents) == 0:
		return fmt.Errorf("%w: a block status without extents", wire.ErrMalformed)
	}
	delete(c.pending, k.cookie)
	c.finish(k, k.err)
	return nil
}
