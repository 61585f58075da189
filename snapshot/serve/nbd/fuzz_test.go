package nbd

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"platter/snapshot/image/nbd/wire"
)

// A recording is a connection whose client sends fixed bytes, and keeps what it gets.
type recording struct {
	net.Conn // nil: nothing else is called
	in       *bytes.Reader
	out      bytes.Buffer // the server writes from one goroutine at a time
}

func (r *recording) Read(p []byte) (int, error)       { return r.in.Read(p) }
func (r *recording) Write(p []byte) (int, error)      { return r.out.Write(p) }
func (r *recording) Close() error                     { return nil }
func (r *recording) SetDeadline(time.Time) error      { return nil }
func (r *recording) SetReadDeadline(time.Time) error  { return nil }
func (r *recording) SetWriteDeadline(time.Time) error { return nil }

const fuzzSize = 70_000 // bytes of the disk

// play serves a connection on which a client sends fixed bytes, and returns what the server sends after its greeting.
func play(t *testing.T, sent []byte) []byte {
	disk := newRAM(bytes.Repeat([]byte(strings.Repeat("\x00", 9000)+strings.Repeat("x", 5000)), fuzzSize/14000))
	disk.bad = 12_000
	exports := shelf{"": {Disk: disk, Writable: disk}, "r": {Disk: disk, Description: "read-only"}}
	o := Options{}.withDefaults()
	s := &server{
		ctx: t.Context(), exports: newOpenExports(t.Context(), exports, func(string, error) {}),
		buffers: newBuffers(o.Memory), Options: o, conns: make(map[*conn]struct{}),
	}
	r := &recording{in: bytes.NewReader(sent)}
	newConn(s, r).serve()
	if len(s.exports.byName) > 0 {
		t.Error("an export stays open")
	}
	if !s.buffers.room.TryAcquire(o.Memory) {
		t.Error("memory was not given back")
	}
	return r.out.Bytes()[wire.GreetingLen:]
}

func info(o wire.Option, name string) []byte {
	data := wire.InfoRequest{Name: name, Infos: []uint16{wire.InfoBlockSize, wire.InfoDescription}}.Append(nil)
	return append(wire.OptionHeader{Option: o, Len: uint32(len(data))}.Append(nil), data...)
}

// FuzzHandshake sends arbitrary bytes from the first on. Until transmission begins, the server sends replies only.
func FuzzHandshake(f *testing.F) {
	meta := wire.MetaRequest{Name: "r", Queries: []string{wire.AllocationContext}}.Append(nil)
	f.Add(bytesOf(clientFlags, info(wire.OptInfo, "r"), wire.OptionHeader{Option: wire.OptList}.Append(nil)))
	f.Add(bytesOf(clientFlags, wire.OptionHeader{Option: wire.OptStructuredReply}.Append(nil),
		wire.OptionHeader{Option: wire.OptSetMetaContext, Len: uint32(len(meta))}.Append(nil), meta, info(wire.OptGo, "r")))
	f.Add(bytesOf(clientFlags, wire.OptionHeader{Option: wire.OptStartTLS}.Append(nil), info(wire.OptGo, "x"),
		wire.OptionHeader{Option: wire.OptAbort}.Append(nil)))
	f.Fuzz(func(t *testing.T, sent []byte) {
		out := play(t, sent)
		for len(out) >= wire.OptionReplyLen {
			r, err := wire.ParseOptionReply(out[:wire.OptionReplyLen])
			if err != nil {
				return // transmission, after EXPORT_NAME
			}
			if int64(r.Len) > int64(len(out)-wire.OptionReplyLen) {
				t.Fatalf("reply %+v is cut short", r)
			}
			out = out[wire.OptionReplyLen+r.Len:]
			if r.Option == wire.OptGo && r.Type == wire.RepAck {
				return
			}
		}
	})
}

// FuzzRequests sends arbitrary bytes once transmission has begun. What the server answers is well-formed, and answers
// something.
func FuzzRequests(f *testing.F) {
	f.Add(true, wire.Request{Command: wire.CmdRead, Cookie: 1, Len: fuzzSize}.Append(nil))
	f.Add(false, wire.Request{Command: wire.CmdRead, Cookie: 1, Len: 12_001}.Append(nil))
	f.Add(true, wire.Request{Command: wire.CmdRead, Cookie: 1, Len: 12_001, Flags: wire.FlagDF}.Append(nil))
	f.Add(true, wire.Request{Command: wire.CmdRead, Cookie: 1, Off: 20_000, Len: 40_000}.Append(nil))
	f.Add(true, wire.Request{Command: wire.CmdBlockStatus, Cookie: 2, Off: 5, Len: 50_000}.Append(nil))
	f.Add(false, bytesOf(wire.Request{Command: wire.CmdWrite, Cookie: 3, Off: 100, Len: 4}.Append(nil), "data",
		wire.Request{Command: wire.CmdRead, Cookie: 3, Off: 98, Len: 8}.Append(nil),
		wire.Request{Command: wire.CmdDisconnect}.Append(nil)))
	f.Add(true, bytesOf(wire.Request{Command: wire.CmdWriteZeroes, Flags: wire.FlagFUA | wire.FlagNoHole, Len: 999}.Append(nil),
		wire.Request{Command: wire.CmdTrim, Len: 10_000}.Append(nil), wire.Request{Command: wire.CmdCache, Len: 10}.Append(nil)))
	f.Fuzz(func(t *testing.T, structured bool, sent []byte) {
		begin := bytesOf(clientFlags)
		if structured {
			meta := wire.MetaRequest{Queries: []string{wire.AllocationContext}}.Append(nil)
			begin = bytesOf(begin, wire.OptionHeader{Option: wire.OptStructuredReply}.Append(nil),
				wire.OptionHeader{Option: wire.OptSetMetaContext, Len: uint32(len(meta))}.Append(nil), meta)
		}
		begin = append(begin, info(wire.OptGo, "")...)
		out := play(t, append(begin, sent...))
		for { // the replies to options
			r, err := wire.ParseOptionReply(out[:wire.OptionReplyLen])
			if err != nil {
				t.Fatal(err)
			}
			out = out[wire.OptionReplyLen+r.Len:]
			if r.Option == wire.OptGo && r.Type == wire.RepAck {
				break
			}
		}
		if structured {
			checkChunks(t, out, len(sent)/wire.RequestLen)
		}
	})
}

// checkChunks walks over replies, simple without data or structured, to at most n requests.
func checkChunks(t *testing.T, out []byte, n int) {
	for r := bytes.NewReader(out); r.Len() > 0; {
		head := make([]byte, wire.SimpleReplyLen, wire.ChunkLen)
		_, err := io.ReadFull(r, head)
		done := true
		switch magic := binary.BigEndian.Uint32(head); {
		case err != nil:
		case magic == wire.ReplyChunkMagic:
			head = head[:wire.ChunkLen]
			_, err = io.ReadFull(r, head[wire.SimpleReplyLen:])
			c := wire.ParseChunk(head)
			done = c.Flags == wire.ChunkDone
			known := []uint16{wire.ChunkNone, wire.ChunkOffsetData, wire.ChunkOffsetHole, wire.ChunkBlockStatus, wire.ChunkError, wire.ChunkErrorOffset}
			if int64(c.Len) > int64(r.Len()) || !slices.Contains(known, c.Type) || c.Flags > 1 {
				t.Fatalf("chunk %+v, %d bytes are left", c, r.Len())
			}
			_, _ = r.Seek(int64(c.Len), io.SeekCurrent)
		case magic != wire.SimpleReplyMagic:
			t.Fatalf("no reply: %q", head)
		}
		if err != nil {
			t.Fatal("a reply is cut short")
		}
		if done {
			n--
		}
	}
	if n < 0 {
		t.Error("more replies than requests")
	}
}

var _ Exports = shelf(nil)
