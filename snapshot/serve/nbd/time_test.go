package nbd

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"platter/snapshot/image"
	"platter/snapshot/image/nbd/wire"
)

// pipes is a listener whose connections are in memory, so that its clock can be a bubble's.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes", Net: "unix"} }

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

// dial connects, and leaves the greeting unread.
func (p *pipes) dial(t testing.TB) net.Conn {
	client, server := net.Pipe()
	t.Cleanup(func() { client.Close() })
	p.conns <- server
	return client
}

// hungUp waits until the server hangs up, and returns how long that takes.
func hungUp(c net.Conn) time.Duration {
	begun := time.Now()
	_, _ = io.Copy(io.Discard, c)
	return time.Since(begun)
}

const (
	clientFlags = uint32(wire.FixedNewstyle | wire.NoZeroes)
	patience    = 10 * time.Second
)

// TestHalfOpen leaves handshakes half-way. The server hangs up after ten seconds, whatever the client sends meanwhile.
func TestHalfOpen(t *testing.T) {
	for name, client := range map[string]func(c net.Conn){
		"silent":   func(net.Conn) {},
		"greeting": func(c net.Conn) { _, _ = c.Write(bytesOf(clientFlags)) },
		"half an option": func(c net.Conn) {
			_, _ = c.Write(bytesOf(clientFlags, wire.OptionHeader{Option: wire.OptGo, Len: 100}.Append(nil), "short"))
		},
		"byte by byte": func(c net.Conn) {
			for _, b := range bytesOf(clientFlags, wire.OptionHeader{Option: 99, Len: 50_000}.Append(nil)) {
				if _, err := c.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		},
		"options without end": func(c net.Conn) {
			_, _ = c.Write(bytesOf(clientFlags))
			for {
				if _, err := c.Write(wire.OptionHeader{Option: 99}.Append(nil)); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newPipes()
				serveOn(t, l, shelf{}, Options{})
				c := l.dial(t)
				var sender sync.WaitGroup
				sender.Go(func() { client(c) })
				if took := hungUp(c); took != patience {
					t.Errorf("the server hung up after %v", took)
				}
				sender.Wait()
			})
		})
	}
}

// slowShelf takes a minute to open an export.
type slowShelf struct{ shelf }

func (s slowShelf) Open(ctx context.Context, name string) (*Export, error) {
	time.Sleep(time.Minute)
	return s.shelf.Open(ctx, name)
}

func (s slowShelf) List(ctx context.Context) ([]wire.Listed, error) {
	time.Sleep(time.Minute)
	return s.shelf.List(ctx)
}

// TestPatience lets a client wait for a slow export, and be idle for a day.
func TestPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipes()
		serveOn(t, l, slowShelf{shelf{"": {Disk: newRAM(make([]byte, 100))}}}, Options{})
		c := greet(t, l.dial(t), clientFlags)
		_ = c.SetDeadline(time.Time{})
		c.expect(wire.RepAck, wire.OptList)
		c.begin("", true)
		time.Sleep(24 * time.Hour)
		c.ask(wire.Request{Command: wire.CmdRead, Len: 100})
		c.read(wire.ChunkLen + 8 + 100)
		c.ask(wire.Request{Command: wire.CmdDisconnect})
		c.gone()
	})
}

// TestStalled stops in the middle of messages, with all memory of the server in use. The server hangs up, and serves
// others.
func TestStalled(t *testing.T) {
	disk := newRAM(make([]byte, wire.MaxPayload))
	for name, stall := range map[string]func(c *rawClient){
		"a write": func(c *rawClient) {
			c.ask(wire.Request{Command: wire.CmdWrite, Len: wire.MaxPayload}, "only this")
		},
		"a refused write": func(c *rawClient) {
			c.ask(wire.Request{Command: wire.CmdWrite, Len: wire.MaxPayload, Flags: 1 << 15}, "only this")
		},
		"a read": func(c *rawClient) { c.ask(wire.Request{Command: wire.CmdRead, Len: wire.MaxPayload}) },
		"errors": func(c *rawClient) {
			for {
				if _, err := c.Write(wire.Request{Command: 99}.Append(nil)); err != nil {
					return
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newPipes()
				serveOn(t, l, shelf{"": {Disk: disk, Writable: disk}}, Options{Memory: 1})
				bad := greet(t, l.dial(t), clientFlags)
				_ = bad.SetDeadline(time.Time{})
				bad.begin("", false)
				stall(bad)
				good := greet(t, l.dial(t), clientFlags)
				_ = good.SetDeadline(time.Time{})
				good.begin("", false)
				begun := time.Now()
				good.ask(wire.Request{Command: wire.CmdRead, Len: wire.MaxPayload})
				good.read(wire.SimpleReplyLen + wire.MaxPayload)
				if took := time.Since(begun); took > 12*time.Minute {
					t.Errorf("another client waited for %v", took)
				}
				hungUp(bad)
				if took := time.Since(begun); took > 12*time.Minute {
					t.Errorf("the stalled client was kept for %v", took)
				}
			})
		})
	}
}

// stuck is a disk whose reads end only with their context.
type stuck struct{ *ram }

func (stuck) ReadAtContext(ctx context.Context, _ []byte, _ int64) (int, error) {
	<-ctx.Done()
	return 0, context.Cause(ctx)
}

// TestEnd ends a server that has requests in flight, clients in their handshake, and one that reads nothing.
func TestEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipes()
		disk := newRAM(make([]byte, 1<<20))
		var stats Stats
		end := serveOn(t, l, shelf{"s": {Disk: stuck{disk}}, "w": {Disk: disk, Writable: disk}}, Options{Stats: &stats})
		_ = l.dial(t) // half-open
		waiting := greet(t, l.dial(t), clientFlags)
		waiting.begin("s", true)
		waiting.ask(wire.Request{Command: wire.CmdRead, Cookie: 9, Len: 100})
		mute := greet(t, l.dial(t), clientFlags)
		mute.begin("w", false)
		mute.ask(wire.Request{Command: wire.CmdRead, Len: 1 << 20})
		synctest.Wait()
		begun := time.Now()
		done := make(chan error)
		go func() { done <- end() }()
		if e := waiting.errno(9); e != wire.ESHUTDOWN {
			t.Errorf("a request in flight: error %d", e)
		}
		waiting.gone()
		if err := <-done; err != nil || time.Since(begun) > endTimeout {
			t.Errorf("Serve returned %v after %v", err, time.Since(begun))
		}
		if disk.syncs.Load() != 1 {
			t.Errorf("the written disk was synced %d times", disk.syncs.Load())
		}
		if stats.Connections.Load() != 0 || stats.Failures.Load() != 0 {
			t.Errorf("%d connections are open, %d failures", stats.Connections.Load(), stats.Failures.Load())
		}
	})
}

// TestHungUp has a client hang up with a request in flight: the request is cancelled once its connection breaks, and is
// no failure of the disk.
func TestHungUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipes()
		var stats Stats
		serveOn(t, l, shelf{"": {Disk: stuck{newRAM(make([]byte, 100))}}}, Options{Stats: &stats})
		c := greet(t, l.dial(t), clientFlags)
		c.begin("", false)
		c.ask(wire.Request{Command: wire.CmdRead, Len: 100})
		_, _ = c.Write([]byte("half a request"))
		c.Close()
		synctest.Wait()
		if stats.Connections.Load() != 0 || stats.Failures.Load() != 0 {
			t.Errorf("%d connections are open, %d failures", stats.Connections.Load(), stats.Failures.Load())
		}
	})
}

// TestLimit opens more connections than allowed: the oldest in its handshake makes room, an established one does not.
func TestLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipes()
		serveOn(t, l, shelf{"": {Disk: newRAM(make([]byte, 100))}}, Options{MaxConnections: 3})
		served := greet(t, l.dial(t), clientFlags)
		served.begin("", false)
		synctest.Wait()
		oldest := greet(t, l.dial(t), clientFlags)
		second := greet(t, l.dial(t), clientFlags)
		third := greet(t, l.dial(t), clientFlags)
		oldest.gone()
		second.begin("", false)
		third.begin("", false)
		synctest.Wait()
		if took := hungUp(l.dial(t)); took != 0 {
			t.Errorf("one too many was served for %v", took)
		}
		for _, c := range []*rawClient{served, second, third} {
			c.ask(wire.Request{Command: wire.CmdRead, Len: 100})
			c.read(wire.SimpleReplyLen + 100)
		}
		second.Close()
		synctest.Wait()
		greet(t, l.dial(t), clientFlags).begin("", false)
	})
}

// once is a shelf that has one export, which can be open once at a time.
type once struct {
	disk image.Disk
	open chan struct{} // of length 1
	n    int           // how often it was opened
}

func (o *once) List(context.Context) ([]wire.Listed, error) { return nil, errWanted }

func (o *once) Open(context.Context, string) (*Export, error) {
	select {
	case o.open <- struct{}{}:
	default:
		return nil, errors.New("it is open already")
	}
	o.n++
	return &Export{Disk: o.disk, Close: func() error {
		time.Sleep(time.Minute)
		<-o.open
		return nil
	}}, nil
}

// TestShared opens an export by many clients. It is opened once for all, closed after the last, and is never open twice,
// even though closing takes time.
func TestShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipes()
		o := &once{disk: newRAM(make([]byte, 100)), open: make(chan struct{}, 1)}
		serveOn(t, l, o, Options{})
		for range 3 {
			var all []*rawClient
			for range 5 {
				c := greet(t, l.dial(t), clientFlags)
				_ = c.SetDeadline(time.Time{})
				c.expect(wire.RepErrUnknown, wire.OptList) // List fails
				c.expect(wire.RepAck, wire.OptInfo, wire.InfoRequest{}.Append(nil))
				c.begin("", true)
				all = append(all, c)
			}
			for _, c := range all {
				c.Close()
			}
			synctest.Wait()
		}
		if o.n != 3 {
			t.Errorf("it was opened %d times", o.n)
		}
	})
}
