package nbd

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"

	"platter/snapshot/image/nbd/wire"
)

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

// TestTextBeforeTLS meets a server, or an attacker before it, that sends more in plain text once TLS is agreed on.
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
		"": "does not greet", "HTTP/1.1 400 Bad Request\r\n": "not an NBD server", "NBDMAGIC": "does not greet",
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
