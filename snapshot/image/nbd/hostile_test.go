package nbd

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
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

// TestHandshakes meets servers of every kind. Each answers options from a table, by number.
func TestHandshakes(t *testing.T) {
	export := func(size uint64, flags uint16) []byte { return wire.Geometry{Size: size, Flags: flags}.Append(nil) }
	ok := scripted{
		wire.OptStructuredReply: {{wire.RepAck, nil}},
		wire.OptSetMetaContext:  {{wire.RepMetaContext, bytesOf(uint32(3), wire.AllocationContext)}, {wire.RepAck, nil}},
		wire.OptGo:              {{wire.RepInfo, export(5<<9, wire.HasFlags)}, {wire.RepAck, nil}},
	}
	with := func(o wire.Option, replies ...scriptedReply) scripted {
		s := make(scripted)
		for k, v := range ok {
			s[k] = v
		}
		s[o] = replies
		return s
	}
	refuse := func(kind wire.ReplyType) scriptedReply { return scriptedReply{kind, []byte("be\x1b[31mcause")} }
	for _, tc := range []struct {
		name string
		s    scripted
		err  string // part of the error; "" for success
		size int64
	}{
		{"all", ok, "", 5 << 9},
		{"no structured replies", with(wire.OptStructuredReply, refuse(wire.RepErrUnsupported)), "", 5 << 9},
		{"no contexts", with(wire.OptSetMetaContext, refuse(wire.RepErrUnsupported)), "", 5 << 9},
		{"no export", with(wire.OptGo, refuse(wire.RepErrUnknown)), `no such export; it says "be [31mcause"`, 0},
		{"an unknown refusal", with(wire.OptGo, refuse(wire.RepError+999)), "refuses (0x800003e7)", 0},
		{"TLS wanted", with(wire.OptStructuredReply, refuse(wire.RepErrTLSRequired)), "use nbds://", 0},
		{"no size", with(wire.OptGo, scriptedReply{wire.RepAck, nil}), "does not tell the size", 0},
		{"a size that is none", with(wire.OptGo, scriptedReply{wire.RepInfo, export(1<<63, 1)}, scriptedReply{wire.RepAck, nil}), "a size of", 0},
		{"short infos", with(wire.OptGo, scriptedReply{wire.RepInfo, []byte{0}}), "infos", 0},
		{"a long size", with(wire.OptGo, scriptedReply{wire.RepInfo, make([]byte, 13)}), "size of the export", 0},
		{"no blocks", with(wire.OptGo, scriptedReply{wire.RepInfo, wire.BlockSize{}.Append(nil)}), "block size", 0},
		{"blocks that are no power of 2", with(wire.OptGo, scriptedReply{wire.RepInfo, wire.BlockSize{Min: 3, Max: 9}.Append(nil)}), "block size", 0},
		{"huge blocks", with(wire.OptGo, scriptedReply{wire.RepInfo, wire.BlockSize{Min: 1 << 31, Max: 1 << 31}.Append(nil)}), "block size", 0},
		{"a maximum below the blocks", with(wire.OptGo, scriptedReply{wire.RepInfo, wire.BlockSize{Min: 512, Max: 1}.Append(nil)}), "block size", 0},
		{"an end that cannot be read", with(wire.OptGo, scriptedReply{wire.RepInfo, export(1000, 1)},
			scriptedReply{wire.RepInfo, wire.BlockSize{Min: 512, Preferred: 512, Max: 512}.Append(nil)}, scriptedReply{wire.RepAck, nil}), "cannot be read", 0},
		{"another reply", with(wire.OptGo, scriptedReply{wire.RepServer, nil}), "infos", 0},
		{"a long reply", with(wire.OptGo, scriptedReply{wire.RepInfo, make([]byte, wire.MaxOption+1)}), "reply of", 0},
		{"replies without end", with(wire.OptGo, slices.Repeat([]scriptedReply{{wire.RepInfo, export(1, 1)}}, maxReplies)...), "more than", 0},
		{"an old server", with(wire.OptGo, refuse(wire.RepErrUnsupported)), "", 77},
	} {
		t.Run(tc.name, func(t *testing.T) {
			client, server := net.Pipe()
			defer client.Close()
			go func() {
				defer server.Close()
				tc.s.serve(server)
			}()
			h := &handshake{target: &target{}, net: client, in: newReader(client)}
			err := h.run(t.Context())
			switch {
			case tc.err == "" && (err != nil || h.Geometry.Size != uint64(tc.size)):
				t.Errorf("%v, %d bytes", err, h.Geometry.Size)
			case tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err)):
				t.Errorf("got %v, want an error with %q", err, tc.err)
			}
		})
	}
}

// TestTextBeforeTLS meets a server, or whoever sits before it, that sends more in plain text once TLS is agreed on.
func TestTextBeforeTLS(t *testing.T) {
	client, server := net.Pipe()
	defer client.Close()
	go func() {
		defer server.Close()
		_, _ = server.Write(bytesOf(wire.ServerMagic, wire.OptionMagic, wire.FixedNewstyle))
		_, _ = io.CopyN(io.Discard, server, 4+wire.OptionLen)
		_, _ = server.Write(bytesOf(wire.OptionReply{Option: wire.OptStartTLS, Type: wire.RepAck}.Append(nil), "more"))
	}()
	h := &handshake{target: &target{tls: new(tls.Config)}, net: client, in: newReader(client)}
	if err := h.run(t.Context()); !errors.Is(err, wire.ErrMalformed) {
		t.Errorf("got %v", err)
	}
}

// TestGreetings meets what is no server of our kind.
func TestGreetings(t *testing.T) {
	for greeting, want := range map[string]string{
		"": "does not greet", "HTTP/1.1 400 Bad Request\r\n": "no NBD server", "NBDMAGIC": "does not greet",
		string(bytesOf("NBDMAGIC", wire.OldstyleMagic, uint64(0))): "before 2012",
		"NBDMAGICIHAVEOPT\x00\x00":                                 "before 2012",
		"NBDMAGICIHAVEWHAT\x01":                                    "malformed",
	} {
		client, server := net.Pipe()
		go func() {
			_, _ = io.WriteString(server, greeting)
			server.Close()
		}()
		h := &handshake{target: &target{}, net: client, in: newReader(client)}
		if err := h.run(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", greeting, err, want)
		}
		client.Close()
	}
}

// A scripted server answers each option with its replies.
type scripted map[wire.Option][]scriptedReply

type scriptedReply struct {
	kind wire.ReplyType
	data []byte
}

func (s scripted) serve(c net.Conn) {
	_, _ = c.Write(bytesOf(wire.ServerMagic, wire.OptionMagic, wire.FixedNewstyle|wire.NoZeroes))
	_, _ = io.CopyN(io.Discard, c, 4)
	for {
		var b [wire.OptionLen]byte
		if _, err := io.ReadFull(c, b[:]); err != nil {
			return
		}
		h, _ := wire.ParseOption(b[:])
		_, _ = io.CopyN(io.Discard, c, int64(h.Len))
		if h.Option == wire.OptExportName {
			_, _ = c.Write(bytesOf(uint64(77), wire.HasFlags))
			return
		}
		for _, r := range s[h.Option] {
			head := wire.OptionReply{Option: h.Option, Type: r.kind, Len: uint32(len(r.data))}.Append(nil)
			if _, err := c.Write(append(head, r.data...)); err != nil {
				return
			}
		}
	}
}

// TestURIs reads the examples of the URI's definition, and some that are refused.
func TestURIs(t *testing.T) {
	for uri, want := range map[string]string{
		"nbd://example.com/disk":                  "tcp example.com:10809 disk",
		"nbd://example.com/":                      "tcp example.com:10809 ",
		"nbd://example.com":                       "tcp example.com:10809 ",
		"nbd://example.com:10810//disk":           "tcp example.com:10810 /disk",
		"nbd://example.com/hello%20world":         "tcp example.com:10809 hello world",
		"nbd://[::1]:7/a/b":                       "tcp [::1]:7 a/b",
		"nbd:///":                                 "tcp localhost:10809 ",
		"NBD://h":                                 "tcp h:10809 ",
		"nbd+unix:///disk?socket=sock":            "unix sock disk",
		"nbd+unix:///?socket=/tmp/a%3db":          "unix /tmp/a=b ",
		"nbds://h/x":                              "tcp h:10809 x TLS h",
		"nbds://[::1]/x?tls-type=x509":            "tcp [::1]:10809 x TLS ::1",
		"nbds+unix:///x?socket=s&tls-hostname=cn": "unix s x TLS cn",
		"nbd+unix:///disk":                        "",
		"nbd+unix://host/disk?socket=s":           "",
		"nbd://h/x?socket=s":                      "",
		"nbd://h/x?tls-verify-peer=0":             "",
		"nbds://h/x?tls-verify-peer=0":            "",
		"nbds://h/x?tls-type=psk":                 "",
		"nbd://user@h/x":                          "",
		"nbd://h/x#y":                             "",
		"nbd://h/%ff":                             "",
		"nbd://h/%00":                             "",
		"nbd://h/" + strings.Repeat("x", 4097):    "",
		"nbd://h/x?%zz":                           "",
		"http://h/x":                              "",
		"nbd:h":                                   "",
		"nbd://h:port/":                           "",
		"nbd://h/x?socket=%ff&" + strings.Repeat("a=b&", 100): "",
	} {
		got := ""
		if t, err := parseURI(uri, Options{}); err == nil {
			got = fmt.Sprintf("%s %s %s", t.network, t.address, t.name)
			if t.tls != nil {
				got += " TLS " + t.tls.ServerName
			}
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", uri, got, want)
		}
	}
	if _, err := parseURI("nbd://h/", Options{CA: "ca.pem"}); err == nil {
		t.Error("certificates without TLS are accepted")
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
