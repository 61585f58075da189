package nbd

import (
	"bufio"
	"context"
	"net"
	"sync"
	"time"
)

// A reply is a part of an answer, or all of it, on its way to the client.
type reply struct {
	parts [][]byte
	buf   *buffer       // that parts are in; put back when they are sent; may be nil
	last  bool          // ends the answer: the request's slot is free
	sent  chan struct{} // closed when the reply is sent, or dropped; may be nil
}

// A writer sends replies, one goroutine at a time. A goroutine that finds the writer idle sends its own reply, and then
// all that others have added meanwhile. So replies that are ready together leave in one system call, and no reply waits
// for another goroutine to wake.
type writer struct {
	conn   *conn
	cancel context.CancelCauseFunc // ends the connection's requests

	deadline time.Time     // of writes; used by the sender only
	tls      *bufio.Writer // joins small parts to records; nil without TLS

	mu      sync.Mutex
	queue   []reply
	spare   []reply // memory for the next queue
	sending bool
}

func newWriter(c *conn, cancel context.CancelCauseFunc) *writer {
	w := &writer{conn: c, cancel: cancel}
	if c.secure {
		w.tls = bufio.NewWriterSize(c.net, 64<<10)
	}
	return w
}

// send sends a reply, or leaves it to the goroutine that is sending.
func (w *writer) send(r reply) {
	w.mu.Lock()
	w.queue = append(w.queue, r)
	if w.sending {
		w.mu.Unlock()
		return
	}
	w.sending = true
	for len(w.queue) > 0 {
		batch := w.queue
		w.queue = w.spare[:0]
		w.mu.Unlock()
		w.sendAll(batch)
		clear(batch)
		w.mu.Lock()
		w.spare = batch
	}
	w.sending = false
	w.mu.Unlock()
}

// sendAll writes replies and gives back what they hold. After an error the connection is closed, and nothing more is
// written: the replies are dropped.
func (w *writer) sendAll(batch []reply) {
	var parts net.Buffers
	n := 0
	for _, r := range batch {
		parts = append(parts, r.parts...)
		for _, p := range r.parts {
			n += len(p)
		}
	}
	if err := w.write(parts, n); err != nil {
		w.cancel(err)
		w.conn.raw.Close() // later writes fail at once, and the reader ends
	}
	for _, r := range batch {
		if r.buf != nil {
			w.conn.srv.buffers.put(w.conn.room, r.buf)
		}
		if r.last {
			<-w.conn.slots
		}
		if r.sent != nil {
			close(r.sent)
		}
	}
}

// write writes parts of n bytes in all.
func (w *writer) write(parts net.Buffers, n int) error {
	if now := time.Now(); n > 1<<20 || w.deadline.Sub(now) < stallTimeout { // it is costly to set it each time
		w.deadline = now.Add(within(n) + stallTimeout)
		_ = w.conn.raw.SetWriteDeadline(w.deadline)
		if w.conn.ending.Load() {
			w.conn.endSoon()
		}
	}
	if w.tls == nil {
		_, err := parts.WriteTo(w.conn.net)
		return err
	}
	for _, p := range parts {
		if _, err := w.tls.Write(p); err != nil {
			return err
		}
	}
	return w.tls.Flush()
}
