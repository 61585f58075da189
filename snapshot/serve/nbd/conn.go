package nbd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"platter/snapshot/image/nbd/wire"
)

// A conn is one connection. Its goroutine reads requests; each request runs in a goroutine of its own.
type conn struct {
	srv *server
	raw net.Conn // the socket
	net net.Conn // the socket, or TLS over it
	in  *bufio.Reader
	out *writer

	number               int64 // in the order of arrival
	handshaking, dropped bool  // guarded by the server's mu
	ending               atomic.Bool
	deadline             time.Time // of the handshake
	agreed

	room  *semaphore.Weighted // bytes of its data in flight
	slots chan struct{}       // one for each request until its reply is sent
	work  sync.WaitGroup      // one for each request
}

// agreed is what client and server have agreed on.
type agreed struct {
	noZeroes   bool
	secure     bool        // TLS
	structured bool        // structured replies
	context    bool        // base:allocation was selected
	contextOf  string      // the export that it was selected for
	export     *openExport // that was asked about last; in transmission: that is served
}

func newConn(s *server, raw net.Conn) *conn {
	return &conn{
		srv: s, raw: raw, net: raw, in: bufio.NewReaderSize(raw, 32<<10), handshaking: true,
		room: newRoom(), slots: make(chan struct{}, s.MaxRequests),
	}
}

// serve serves the connection from its first byte to its last. Errors of the connection concern the client alone, which
// notices them itself.
func (c *conn) serve() {
	defer c.raw.Close()
	defer func() {
		if c.export != nil {
			c.srv.exports.release(c.export)
		}
	}()
	if c.handshake() != nil {
		return
	}
	c.srv.established(c)
	c.setDeadline(time.Time{})
	ctx, cancel := context.WithCancelCause(c.srv.ctx)
	defer cancel(nil)
	c.out = newWriter(c, cancel)
	err := c.transmit(ctx)
	if err != nil && !errors.Is(err, io.EOF) && !c.ending.Load() {
		cancel(err)
	}
	c.work.Wait()
	if c.secure {
		c.net.Close() // says goodbye, within 5 s
	}
}

// interrupt makes the connection end soon, because the server ends.
func (c *conn) interrupt() {
	c.ending.Store(true)
	c.endSoon()
}

func (c *conn) endSoon() {
	now := time.Now()
	_ = c.raw.SetReadDeadline(now) // it fails only on a closed connection
	_ = c.raw.SetWriteDeadline(now.Add(endTimeout))
}

// setDeadline bounds reading and writing, unless the server ends.
func (c *conn) setDeadline(t time.Time) {
	_ = c.raw.SetDeadline(t)
	if c.ending.Load() {
		c.endSoon()
	}
}

// transmit reads requests and starts them. It returns nil if the client says goodbye, and io.EOF if it hangs up between
// two requests. In both cases the requests in flight are answered.
func (c *conn) transmit(ctx context.Context) error {
	var header [wire.RequestLen]byte
	for {
		if _, err := io.ReadFull(c.in, header[:]); err != nil {
			return err
		}
		r, err := wire.ParseRequest(header[:])
		if err != nil {
			return err
		}
		if r.Command == wire.CmdDisconnect {
			return nil
		}
		select {
		case c.slots <- struct{}{}:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		var data *buffer
		failure := c.check(r)
		if r.Command == wire.CmdWrite {
			if data, err = c.payload(ctx, r, failure == 0); err != nil {
				return err
			}
		}
		if failure != 0 {
			// Answered here, not in a goroutine. If the client does not read its errors, the slots run out.
			c.refuse(r, failure)
			continue
		}
		c.work.Go(func() { c.run(ctx, r, data) })
	}
}

// payload reads the data of a write, into a buffer or, if the request is refused, to nowhere.
func (c *conn) payload(ctx context.Context, r wire.Request, wanted bool) (*buffer, error) {
	n := int(r.Len)
	if r.Len > wire.MaxPayload { // to skip so much is to let the client keep the server busy
		return nil, fmt.Errorf("%w: a write of %d bytes, more than %d", wire.ErrMalformed, r.Len, wire.MaxPayload)
	}
	var buf *buffer
	var err error
	if wanted {
		if buf, err = c.srv.buffers.get(ctx, c.room, n); err != nil {
			return nil, err
		}
	}
	if c.in.Buffered() < n {
		c.setReadDeadline(time.Now().Add(within(n)))
		defer c.setReadDeadline(time.Time{})
	}
	if wanted {
		if _, err = io.ReadFull(c.in, buf.data(n)); err != nil {
			c.srv.buffers.put(c.room, buf)
		}
	} else {
		_, err = c.in.Discard(n)
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return buf, err
}

func (c *conn) setReadDeadline(t time.Time) {
	_ = c.raw.SetReadDeadline(t)
	if c.ending.Load() {
		c.endSoon()
	}
}

// check returns the error of a request that cannot be served, or 0.
func (c *conn) check(r wire.Request) wire.Errno {
	if r.Flags&^c.flagsOf(r.Command) != 0 {
		return wire.EINVAL
	}
	writes := false
	switch r.Command {
	case wire.CmdFlush:
		return 0
	case wire.CmdWrite, wire.CmdTrim, wire.CmdWriteZeroes:
		if c.export.Writable == nil {
			return wire.EPERM
		}
		writes = true
	case wire.CmdBlockStatus:
		if !c.context || r.Len == 0 {
			return wire.EINVAL
		}
	case wire.CmdRead, wire.CmdCache:
	default:
		return wire.EINVAL
	}
	size := uint64(c.export.Disk.Size())
	switch {
	case r.Off > size || uint64(r.Len) > size-r.Off:
		if writes && r.Command != wire.CmdTrim {
			return wire.ENOSPC // the protocol wants another number here than for reads and trims
		}
		return wire.EINVAL
	case r.Command == wire.CmdRead && r.Len > wire.MaxPayload:
		if c.structured {
			return wire.EOVERFLOW
		}
		return wire.EINVAL
	}
	return 0
}

// flagsOf returns the flags that a command may have.
func (c *conn) flagsOf(command wire.Command) (flags uint16) {
	if c.export.Writable != nil {
		flags = wire.FlagFUA // existing clients set it on every command
	}
	switch {
	case command == wire.CmdRead && c.structured:
		flags |= wire.FlagDF
	case command == wire.CmdWriteZeroes:
		flags |= wire.FlagNoHole | wire.FlagFastZero
	case command == wire.CmdBlockStatus:
		flags |= wire.FlagReqOne
	}
	return flags
}
