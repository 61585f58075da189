package nbd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"

	"platter/snapshot/image"
	"platter/snapshot/image/nbd/wire"
)

// bufferLen is what a connection reads ahead, in bytes.
const bufferLen = 256 << 10

// A conn is one connection in transmission. A goroutine of its own reads replies until the connection ends.
type conn struct {
	offer
	net   net.Conn
	in    *bufio.Reader // used by the reading goroutine only
	slots chan struct{} // one for each request in flight
	ended chan struct{} // closed when the reading goroutine has ended

	lost    atomic.Bool // err is not nil
	writing sync.Mutex  // one request is written at a time

	mu      sync.Mutex
	pending map[uint64]*call // by cookie
	cookie  uint64           // the last one
	err     error            // why the connection is of no use; nil while it is
}

// A call is a request and what has arrived of its reply. Once it is started, the conn's mu guards it until done.
type call struct {
	command wire.Command
	off, n  int64 // bytes

	p       []byte         // where the data of a read goes; nil once the caller does not wait any more
	got     runs           // of a read: what has arrived
	extents []image.Extent // of a block status: what has arrived, from off on
	err     error          // the first error in the reply

	cookie uint64
	done   chan error // receives the outcome
}

func newConn(n net.Conn, in *bufio.Reader, o offer) *conn {
	c := &conn{
		offer: o, net: n, in: in, slots: make(chan struct{}, inFlight), ended: make(chan struct{}),
		pending: make(map[uint64]*call),
	}
	go func() {
		defer close(c.ended)
		c.fail(c.receive())
	}()
	return c
}

// do sends a request and waits for its reply.
func (c *conn) do(ctx context.Context, k *call) error {
	if err := c.start(ctx, k); err != nil {
		return err
	}
	return c.wait(ctx, k)
}

// start sends a request. The caller then calls wait or abandon.
func (c *conn) start(ctx context.Context, k *call) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	select {
	case c.slots <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	k.done = make(chan error, 1)
	if err := c.enter(k); err != nil {
		<-c.slots
		return err
	}
	r := wire.Request{Command: k.command, Cookie: k.cookie, Off: uint64(k.off), Len: uint32(k.n)}
	var b [wire.RequestLen]byte
	c.writing.Lock()
	_, err := c.net.Write(r.Append(b[:0]))
	c.writing.Unlock()
	if err != nil {
		c.fail(err) // k is done then
	}
	return nil
}

// enter gives a call its cookie.
func (c *conn) enter(k *call) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	c.cookie++
	k.cookie = c.cookie
	c.pending[k.cookie] = k
	return nil
}

// wait returns the outcome of a call. If ctx ends first, the reply is dropped when it comes.
func (c *conn) wait(ctx context.Context, k *call) error {
	select {
	case err := <-k.done:
		return err
	case <-ctx.Done():
		c.abandon(k)
		return context.Cause(ctx)
	}
}

// abandon makes sure that a call's memory is not touched any more.
func (c *conn) abandon(k *call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k.p = nil
}

// fail ends the connection and all calls in flight. The first error counts.
func (c *conn) fail(err error) {
	c.net.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		// The text of err alone: a time-out of the network must not pass for one of a medium.
		c.err = fmt.Errorf("%w: %v", ErrLost, err)
	}
	c.lost.Store(true)
	for cookie, k := range c.pending {
		delete(c.pending, cookie)
		c.finish(k, c.err)
	}
}

// finish hands over the outcome of a call. The caller holds mu, and has removed the call from pending.
func (c *conn) finish(k *call, err error) {
	k.p = nil
	k.done <- err
	<-c.slots
}

// errClosed is why calls fail after Close.
var errClosed = errors.New("it was closed")

// close says goodbye and ends the connection.
func (c *conn) close() {
	c.writing.Lock()
	// The server needs no goodbye if the connection is lost, and waits for none.
	_, _ = c.net.Write(wire.Request{Command: wire.CmdDisconnect}.Append(nil))
	c.writing.Unlock()
	c.fail(errClosed)
	<-c.ended
}

func newReader(n net.Conn) *bufio.Reader { return bufio.NewReaderSize(n, bufferLen) }
