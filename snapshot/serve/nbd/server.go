package nbd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// A server is one call of Serve.
type server struct {
	ctx     context.Context // ends the server
	exports *openExports
	buffers *buffers
	Options

	running sync.WaitGroup // one for each connection

	mu      sync.Mutex
	conns   map[*conn]struct{}
	dropped int   // of conns: closed, but not yet gone
	next    int64 // number of the next connection
	ended   bool  // no connection is admitted any more
}

// errEnded is why requests are cancelled.
var errEnded = errors.New("the server ends")

// Serve accepts connections on l and serves them until ctx ends; it then returns nil. It closes l. When it returns, all
// requests are answered or cancelled, all connections and exports are closed, and written exports are synced. An error
// says that l failed, or that an export could not be synced or closed.
func Serve(ctx context.Context, l net.Listener, exports Exports, o Options) error {
	defer l.Close()
	if err := mayListen(l.Addr(), o.TLS); err != nil {
		return err
	}
	o = o.withDefaults()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s := &server{
		ctx: ctx, exports: newOpenExports(ctx, exports, o.Failed), buffers: newBuffers(o.Memory), Options: o,
		conns: make(map[*conn]struct{}),
	}
	var ender sync.WaitGroup
	ender.Go(func() {
		<-ctx.Done()
		l.Close()
		s.end()
	})
	err := s.accept(l)
	cancel(errEnded)
	ender.Wait()
	s.running.Wait()
	return errors.Join(err, s.exports.firstErr())
}

// accept admits connections until the server ends, or l fails for good.
func (s *server) accept(l net.Listener) error {
	var pause time.Duration
	for {
		c, err := l.Accept()
		if s.ctx.Err() != nil {
			if err == nil {
				c.Close()
			}
			return nil
		}
		if errors.Is(err, net.ErrClosed) {
			return fmt.Errorf("serve NBD: %w", err)
		}
		if err != nil { // too many open files, perhaps: it passes when connections end
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			select {
			case <-s.ctx.Done():
				return nil
			case <-time.After(pause):
			}
			continue
		}
		pause = 0
		s.admit(c)
	}
}

// admit serves a connection in a goroutine. If there are too many, the one that has been longest in its handshake is
// dropped; if none is in its handshake, the new one is.
func (s *server) admit(raw net.Conn) {
	s.Stats.Accepted.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	full := len(s.conns)-s.dropped >= s.MaxConnections
	// Dropped connections may still wait for an export to open. They count too, so that they cannot pile up.
	if s.ended || len(s.conns) >= 2*s.MaxConnections || full && !s.dropOldest() {
		s.Stats.Refused.Add(1)
		raw.Close()
		return
	}
	c := newConn(s, raw)
	c.number = s.next
	s.next++
	s.conns[c] = struct{}{}
	s.Stats.Connections.Add(1)
	s.running.Go(func() {
		defer s.forget(c)
		c.serve()
	})
}

// dropOldest closes the connection that has been longest in its handshake. It reports false if there is none. The
// caller holds mu.
func (s *server) dropOldest() bool {
	var oldest *conn
	for c := range s.conns {
		if c.handshaking && !c.dropped && (oldest == nil || c.number < oldest.number) {
			oldest = c
		}
	}
	if oldest == nil {
		return false
	}
	oldest.dropped = true
	s.dropped++
	s.Stats.Refused.Add(1)
	oldest.raw.Close()
	return true
}

// established notes that a connection's handshake is over: it is not dropped any more.
func (s *server) established(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.handshaking = false
}

func (s *server) forget(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	if c.dropped {
		s.dropped--
	}
	s.Stats.Connections.Add(-1)
}

// end interrupts all connections and admits no more.
func (s *server) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	for c := range s.conns {
		c.interrupt()
	}
}

// mayListen returns an error if serving on an address would let other machines in without a certificate.
func mayListen(addr net.Addr, config *tls.Config) error {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok || tcp.IP.IsLoopback() {
		return nil
	}
	if config == nil || config.ClientAuth != tls.RequireAndVerifyClientCert {
		return fmt.Errorf("serve NBD on %v: %w", addr, ErrNeedsTLS)
	}
	return nil
}
