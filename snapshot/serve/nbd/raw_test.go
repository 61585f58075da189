package nbd

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"platter/snapshot/image/nbd/wire"
)

// A rawClient speaks the protocol by hand, and can break it.
type rawClient struct {
	net.Conn
	t testing.TB
}

// connect dials a server and reads its greeting. It answers with flags.
func connect(t testing.TB, path string, flags uint32) *rawClient {
	t.Helper()
	n, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return greet(t, n, flags)
}

func greet(t testing.TB, n net.Conn, flags uint32) *rawClient {
	t.Helper()
	c := &rawClient{n, t}
	_ = n.SetDeadline(time.Now().Add(time.Minute)) // a test that hangs fails
	c.read(wire.GreetingLen)
	c.write(flags)
	return c
}

// write sends numbers, big-endian, strings and bytes.
func (c *rawClient) write(parts ...any) {
	c.t.Helper()
	if b := bytesOf(parts...); len(b) > 0 {
		if _, err := c.Write(b); err != nil {
			c.t.Fatalf("write: %v", err)
		}
	}
}

func bytesOf(parts ...any) []byte {
	var b []byte
	for _, p := range parts {
		switch p := p.(type) {
		case string:
			b = append(b, p...)
		case []byte:
			b = append(b, p...)
		default:
			var err error
			if b, err = binary.Append(b, binary.BigEndian, p); err != nil {
				panic(err)
			}
		}
	}
	return b
}

func (c *rawClient) read(n int) []byte {
	c.t.Helper()
	b := make([]byte, n)
	if _, err := io.ReadFull(c, b); err != nil {
		c.t.Fatalf("read %d bytes: %v", n, err)
	}
	return b
}

// gone fails the test unless the server has hung up.
func (c *rawClient) gone() {
	c.t.Helper()
	n, err := c.Read(make([]byte, 1))
	var timeout net.Error
	if n > 0 || err == nil || errors.As(err, &timeout) && timeout.Timeout() {
		c.t.Errorf("the server did not hang up: %d bytes, %v", n, err)
	}
}

// A rawReply is a reply to an option.
type rawReply struct {
	kind wire.ReplyType
	data []byte
}

// option sends an option and returns all replies to it.
func (c *rawClient) option(o wire.Option, data ...any) (all []rawReply) {
	c.t.Helper()
	b := bytesOf(data...)
	c.write(wire.OptionHeader{Option: o, Len: uint32(len(b))}.Append(nil), b)
	for {
		r, err := wire.ParseOptionReply(c.read(wire.OptionReplyLen))
		if err != nil || r.Option != o {
			c.t.Fatalf("reply %+v to option %d: %v", r, o, err)
		}
		all = append(all, rawReply{r.Type, c.read(int(r.Len))})
		if r.Type == wire.RepAck || r.Type&wire.RepError != 0 {
			return all
		}
	}
}

// expect sends an option and fails the test unless the last reply is as wanted. It returns the others.
func (c *rawClient) expect(want wire.ReplyType, o wire.Option, data ...any) []rawReply {
	c.t.Helper()
	all := c.option(o, data...)
	last := all[len(all)-1]
	if last.kind != want {
		c.t.Errorf("option %d: reply %#x %q, want %#x", o, uint32(last.kind), last.data, uint32(want))
	}
	return all[:len(all)-1]
}

// begin chooses an export and begins transmission.
func (c *rawClient) begin(name string, structured bool) {
	c.t.Helper()
	if structured {
		c.expect(wire.RepAck, wire.OptStructuredReply)
		c.expect(wire.RepAck, wire.OptSetMetaContext, wire.MetaRequest{Name: name, Queries: []string{wire.AllocationContext}}.Append(nil))
	}
	c.expect(wire.RepAck, wire.OptGo, wire.InfoRequest{Name: name}.Append(nil))
}

// ask sends a request, with the data of a write.
func (c *rawClient) ask(r wire.Request, data ...any) {
	c.t.Helper()
	c.write(r.Append(nil), bytesOf(data...))
}

// errno reads a reply without data, simple or structured, and returns its error.
func (c *rawClient) errno(cookie uint64) wire.Errno {
	c.t.Helper()
	b := c.read(4)
	if binary.BigEndian.Uint32(b) == wire.SimpleReplyMagic {
		r := wire.ParseSimpleReply(append(b, c.read(wire.SimpleReplyLen-4)...))
		if r.Cookie != cookie {
			c.t.Errorf("cookie %d, want %d", r.Cookie, cookie)
		}
		return r.Error
	}
	h := wire.ParseChunk(append(b, c.read(wire.ChunkLen-4)...))
	data := c.read(int(h.Len))
	if h.Cookie != cookie || h.Flags != wire.ChunkDone {
		c.t.Errorf("chunk %+v", h)
	}
	switch {
	case h.Type == wire.ChunkNone:
		return 0
	case h.Type&wire.ChunkIsError == 0:
		c.t.Errorf("chunk %+v has data", h)
		return 0
	}
	return wire.Errno(binary.BigEndian.Uint32(data))
}
