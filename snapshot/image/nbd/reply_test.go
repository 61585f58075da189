package nbd

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"net"
	"slices"
	"strings"
	"testing"

	"platter/snapshot/image"
	"platter/snapshot/image/nbd/wire"
)

var testOffer = offer{
	Geometry: wire.Geometry{Size: 1 << 20}, block: wire.BlockSize{Min: 1, Max: 1 << 20},
	structured: true, allocation: true, contextID: 7,
}

// The parts of replies.

func chunk(r wire.Request, flags, kind uint16, payload ...any) []byte {
	body := bytesOf(payload...)
	return append(wire.Chunk{Flags: flags, Type: kind, Cookie: r.Cookie, Len: uint32(len(body))}.Append(nil), body...)
}

// bytesOf joins numbers, big-endian, and strings.
func bytesOf(parts ...any) []byte {
	var b []byte
	for _, p := range parts {
		switch p := p.(type) {
		case string:
			b = append(b, p...)
		case []byte:
			b = append(b, p...)
		default:
			b, _ = binary.Append(b, binary.BigEndian, p)
		}
	}
	return b
}

func simpleReply(cookie uint64, number wire.Errno) []byte {
	return wire.SimpleReply{Cookie: cookie, Error: number}.Append(nil)
}

// TestReplies answers a read of 8 bytes at 100 with good and bad replies. After a bad one the disk is of no use.
func TestReplies(t *testing.T) {
	const text = "platters"
	zeros := strings.Repeat("\x00", 8)
	for _, tc := range []struct {
		name  string
		reply func(r wire.Request) []byte
		want  string
		err   error // nil: want is read; ErrLost: the connection ends; else only this read fails
	}{
		{"one chunk", func(r wire.Request) []byte { return chunk(r, 1, wire.ChunkOffsetData, uint64(100), text) }, text, nil},
		{"chunks in any order", func(r wire.Request) []byte {
			return slices.Concat(chunk(r, 0, wire.ChunkOffsetData, uint64(104), "ters"),
				chunk(r, 0, wire.ChunkOffsetData, uint64(100), "p"),
				chunk(r, 0, wire.ChunkOffsetData, uint64(101), "lat"), chunk(r, 1, wire.ChunkNone))
		}, text, nil},
		{"a hole", func(r wire.Request) []byte { return chunk(r, 1, wire.ChunkOffsetHole, uint64(100), uint32(8)) }, zeros, nil},
		{"flags of the future", func(r wire.Request) []byte { return chunk(r, 0xffff, wire.ChunkOffsetData, uint64(100), text) }, text, nil},
		{"an error", func(r wire.Request) []byte {
			return chunk(r, 1, wire.ChunkError, uint32(wire.EINVAL), uint16(2), "no")
		}, "", &ServerError{wire.EINVAL, "no"}},
		{"an error of an offset after data", func(r wire.Request) []byte {
			return slices.Concat(chunk(r, 0, wire.ChunkOffsetData, uint64(100), "pl"),
				chunk(r, 0, wire.ChunkErrorOffset, uint32(wire.EIO), uint16(0), uint64(102)), chunk(r, 1, wire.ChunkNone))
		}, "", &ServerError{wire.EIO, ""}},
		{"an error of the future", func(r wire.Request) []byte {
			return chunk(r, 1, uint16(0x8fff), uint32(12345), uint16(1), "x", "more")
		}, "", &ServerError{12345, "x"}},

		{"a simple reply", func(r wire.Request) []byte { return append(simpleReply(r.Cookie, 0), text...) }, "", ErrLost},
		{"a simple error", func(r wire.Request) []byte { return simpleReply(r.Cookie, wire.EIO) }, "", ErrLost},
		{"another cookie", func(r wire.Request) []byte { return simpleReply(r.Cookie+1, 0) }, "", ErrLost},
		{"no reply", func(wire.Request) []byte { return []byte("HTTP/1.1 400 Bad Request\r\n\r\n") }, "", ErrLost},
		{"too little", func(r wire.Request) []byte { return chunk(r, 1, wire.ChunkOffsetData, uint64(100), "platter") }, "", ErrLost},
		{"nothing", func(r wire.Request) []byte { return chunk(r, 1, wire.ChunkNone) }, "", ErrLost},
		{"an empty chunk", func(r wire.Request) []byte { return chunk(r, 0, wire.ChunkOffsetData, uint64(100)) }, "", ErrLost},
		{"too much", func(r wire.Request) []byte { return chunk(r, 1, wire.ChunkOffsetData, uint64(100), text, "!") }, "", ErrLost},
		{"before it", func(r wire.Request) []byte { return chunk(r, 1, wire.ChunkOffsetData, uint64(99), text) }, "", ErrLost},
		{"at the end of numbers", func(r wire.Request) []byte {
			return chunk(r, 1, wire.ChunkOffsetData, uint64(math.MaxUint64), text)
		}, "", ErrLost},
		{"twice the same", func(r wire.Request) []byte {
			return slices.Concat(chunk(r, 0, wire.ChunkOffsetData, uint64(100), "plat"), chunk(r, 1, wire.ChunkOffsetData, uint64(100), "plat"))
		}, "", ErrLost},
		{"overlapping", func(r wire.Request) []byte {
			return slices.Concat(chunk(r, 0, wire.ChunkOffsetData, uint64(104), "ters"),
				chunk(r, 0, wire.ChunkOffsetHole, uint64(100), uint32(5)))
		}, "", ErrLost},
		{"an empty hole", func(r wire.Request) []byte { return chunk(r, 0, wire.ChunkOffsetHole, uint64(100), uint32(0)) }, "", ErrLost},
		{"a huge hole", func(r wire.Request) []byte {
			return chunk(r, 1, wire.ChunkOffsetHole, uint64(100), uint32(math.MaxUint32))
		}, "", ErrLost},
		{"none that is not the last", func(r wire.Request) []byte { return chunk(r, 0, wire.ChunkNone) }, "", ErrLost},
		{"a block status", func(r wire.Request) []byte {
			return chunk(r, 1, wire.ChunkBlockStatus, uint32(7), uint32(8), uint32(0))
		}, "", ErrLost},
		{"a short error", func(r wire.Request) []byte { return chunk(r, 1, wire.ChunkError, uint32(5)) }, "", ErrLost},
		{"an error whose text is cut short", func(r wire.Request) []byte {
			return chunk(r, 1, wire.ChunkError, uint32(5), uint16(9), "text")
		}, "", ErrLost},
		{"an error without end", func(r wire.Request) []byte {
			return wire.Chunk{Type: wire.ChunkError, Cookie: r.Cookie, Len: math.MaxUint32}.Append(nil)
		}, "", ErrLost},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d, server := fake(t, testOffer)
			go answer(t, server, tc.reply)
			p := bytes.Repeat([]byte("?"), 8)
			n, err := d.ReadAt(p, 100)
			if tc.err == nil && (err != nil || string(p) != tc.want) || tc.err != nil && n > 0 {
				t.Errorf("read %q, %d, %v", p, n, err)
			}
			if !sameError(err, tc.err) {
				t.Fatalf("got %v, want %v", err, tc.err)
			}
			if errors.Is(err, ErrLost) {
				if image.IsMediaError(err) {
					t.Error("a lost connection passes for a media error")
				}
				if _, again := d.ReadAt(p, 0); !errors.Is(again, ErrLost) {
					t.Errorf("the next read: %v", again)
				}
				return
			}
			go answer(t, server, func(r wire.Request) []byte { return chunk(r, 1, wire.ChunkOffsetData, uint64(0), "x") })
			if _, err := d.ReadAt(p[:1], 0); err != nil {
				t.Errorf("the next read: %v", err)
			}
		})
	}
}

func sameError(got, want error) bool {
	var a, b *ServerError
	if errors.As(want, &b) {
		return errors.As(got, &a) && *a == *b
	}
	return errors.Is(got, want)
}

// answer reads one request and answers it.
func answer(t testing.TB, server net.Conn, reply func(wire.Request) []byte) {
	_, _ = server.Write(reply(request(t, server))) // the client may have hung up
}

// TestStatusReplies answers a question for the extents of 1,000 bytes at 100.
func TestStatusReplies(t *testing.T) {
	const hole = wire.StateHole | wire.StateZero
	status := func(parts ...uint32) func(wire.Request) []byte {
		return func(r wire.Request) []byte { return chunk(r, 1, wire.ChunkBlockStatus, parts) }
	}
	for _, tc := range []struct {
		name  string
		reply func(wire.Request) []byte
		want  []image.Extent
		err   error
	}{
		{"exact", status(7, 400, 0, 600, hole), []image.Extent{{Off: 100, Len: 400}, {Off: 500, Len: 600, Zero: true}}, nil},
		{"beyond", status(7, 400, hole, 1<<31, 0), []image.Extent{{Off: 100, Len: 400, Zero: true}, {Off: 500, Len: 600}}, nil},
		{"neighbours of a kind", status(7, 400, 0, 600, 0), []image.Extent{{Off: 100, Len: 1000}}, nil},
		{"a hole with old data is data", status(7, 1000, wire.StateHole), []image.Extent{{Off: 100, Len: 1000}}, nil},
		{"unknown states", status(7, 1000, 0xfffffffc|hole), []image.Extent{{Off: 100, Len: 1000, Zero: true}}, nil},
		{"an error", func(r wire.Request) []byte { return simpleReply(r.Cookie, wire.EIO) }, nil, &ServerError{wire.EIO, ""}},
		{"success without extents", func(r wire.Request) []byte { return simpleReply(r.Cookie, 0) }, nil, ErrLost},
		{"nothing", func(r wire.Request) []byte { return chunk(r, 1, wire.ChunkNone) }, nil, ErrLost},
		{"another context", status(8, 1000, 0), nil, ErrLost},
		{"no length", status(7, 0, 0), nil, ErrLost},
		{"one too many", status(7, 1000, 0, 1, 0), nil, ErrLost},
		{"cut short", status(7, 1000), nil, ErrLost},
		{"data", func(r wire.Request) []byte { return chunk(r, 1, wire.ChunkOffsetData, uint64(100), "x") }, nil, ErrLost},
		{"twice", func(r wire.Request) []byte {
			return slices.Concat(chunk(r, 0, wire.ChunkBlockStatus, []uint32{7, 1000, 0}), status(7, 1000, 0)(r))
		}, nil, ErrLost},
		{"without end", func(r wire.Request) []byte {
			return append(wire.Chunk{Type: wire.ChunkBlockStatus, Cookie: r.Cookie, Len: math.MaxUint32 - 3}.Append(nil), 0, 0, 0, 7)
		}, nil, ErrLost},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d, server := fake(t, testOffer)
			go answer(t, server, tc.reply)
			var got []image.Extent
			var failed error
			for e, err := range d.ExtentsIn(t.Context(), 100, 1000) {
				if failed = err; err == nil {
					got = append(got, e)
				}
			}
			if !slices.Equal(got, tc.want) || !sameError(failed, tc.err) {
				t.Errorf("got %v, %v; want %v, %v", got, failed, tc.want, tc.err)
			}
		})
	}
}

// FuzzReplies gives a read and a block status arbitrary bytes for replies. Whatever they are, a read that succeeds has
// filled its memory, and the extents cover what was asked.
func FuzzReplies(f *testing.F) {
	r := wire.Request{Cookie: 1}
	f.Add(true, chunk(r, 1, wire.ChunkOffsetData, uint64(100), "platters"))
	f.Add(true, slices.Concat(chunk(r, 0, wire.ChunkOffsetHole, uint64(104), uint32(4)), chunk(r, 1, wire.ChunkOffsetData, uint64(100), "plat")))
	f.Add(false, chunk(r, 1, wire.ChunkBlockStatus, []uint32{7, 4, 0, 4, 3}))
	f.Add(true, chunk(r, 1, wire.ChunkErrorOffset, uint32(5), uint16(2), "no", uint64(100)))
	f.Add(true, append(simpleReply(1, 0), "platters"...))
	f.Fuzz(func(t *testing.T, reads bool, replies []byte) {
		c := &conn{
			offer: testOffer, net: silent{}, slots: make(chan struct{}, 1), pending: make(map[uint64]*call),
			in: newReader(silent{from: bytes.NewReader(replies)}),
		}
		k := &call{command: wire.CmdBlockStatus, off: 100, n: 8, done: make(chan error, 1)}
		p := bytes.Repeat([]byte{0x5a}, 24)
		if reads {
			k.command, k.p = wire.CmdRead, p[8:16]
		}
		c.slots <- struct{}{}
		if err := c.enter(k); err != nil {
			t.Fatal(err)
		}
		c.fail(c.receive())
		err := <-k.done
		if string(p[:8])+string(p[16:]) != strings.Repeat("\x5a", 16) {
			t.Fatal("bytes outside of the request were written")
		}
		switch {
		case err != nil:
		case reads && k.got.total != 8:
			t.Fatalf("%d bytes arrived", k.got.total)
		case !reads:
			off := int64(100)
			for _, e := range k.extents {
				if e.Off != off || e.Len <= 0 || off >= 108 {
					t.Fatalf("extents %v", k.extents)
				}
				off += e.Len
			}
			if off == 100 {
				t.Fatal("no extents")
			}
		}
	})
}

// silent is a connection that takes all writes. Reads come from a reader.
type silent struct {
	net.Conn // nil: nothing else is called
	from     io.Reader
}

func (s silent) Read(p []byte) (int, error) { return s.from.Read(p) }
func (silent) Write(p []byte) (int, error)  { return len(p), nil }
func (silent) Close() error                 { return nil }
