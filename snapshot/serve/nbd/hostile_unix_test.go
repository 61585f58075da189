//go:build unix

package nbd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"syscall"
	"testing"

	"platter/snapshot/image"
	"platter/snapshot/image/nbd/wire"
)

const bothFlags = uint32(wire.FixedNewstyle | wire.NoZeroes)

// TestOptions sends options at their limits.
func TestOptions(t *testing.T) {
	disk := newRAM(make([]byte, 10_000))
	path := serve(t, shelf{"": {Disk: disk}, "one": {Disk: disk, Description: "the first", Name: "one"}, "w": {Disk: disk, Writable: disk}}, Options{})
	c := connect(t, path, bothFlags)
	name := func(n string, infos ...uint16) []byte { return wire.InfoRequest{Name: n, Infos: infos}.Append(nil) }
	queries := func(q ...string) []byte { return wire.MetaRequest{Name: "one", Queries: q}.Append(nil) }

	c.expect(wire.RepErrUnsupported, 4)
	c.expect(wire.RepErrUnsupported, wire.OptExtendedHeaders)
	c.expect(wire.RepErrUnsupported, math.MaxUint32, strings.Repeat("x", wire.MaxOption))
	c.expect(wire.RepErrTooBig, 99, strings.Repeat("x", wire.MaxOption+1))
	c.expect(wire.RepErrPolicy, wire.OptStartTLS)
	c.expect(wire.RepErrInvalid, wire.OptList, "data")
	c.expect(wire.RepErrInvalid, wire.OptStructuredReply, "data")
	c.expect(wire.RepErrInvalid, wire.OptSetMetaContext, queries(wire.AllocationContext)) // without structured replies
	c.expect(wire.RepAck, wire.OptStructuredReply)
	if all := c.expect(wire.RepAck, wire.OptList); len(all) != 3 {
		t.Errorf("%d exports", len(all))
	}
	for _, o := range []wire.Option{wire.OptInfo, wire.OptGo} {
		c.expect(wire.RepErrUnknown, o, name("two"))
		c.expect(wire.RepErrInvalid, o)
		c.expect(wire.RepErrInvalid, o, "short")
		c.expect(wire.RepErrInvalid, o, uint32(math.MaxUint32), "one")
		c.expect(wire.RepErrInvalid, o, name("one", 1, 2, 3), "x")
		c.expect(wire.RepErrInvalid, o, name(strings.Repeat("x", wire.MaxName+1)))
		c.expect(wire.RepErrUnknown, o, name(strings.Repeat("x", wire.MaxName)))
		c.expect(wire.RepErrInvalid, o, name("\xff"))
		c.expect(wire.RepErrInvalid, o, name("one\x00"))
	}
	for what, n := range map[string]int{wire.AllocationContext: 1, "base:": 0, "qemu:dirty-bitmap:x": 0, "": 0, "base:other": 0} {
		if all := c.expect(wire.RepAck, wire.OptSetMetaContext, queries(what)); len(all) != n {
			t.Errorf("context %q: %d replies", what, len(all))
		}
	}
	for _, q := range [][]byte{queries(), queries("base:"), queries("qemu:", wire.AllocationContext, wire.AllocationContext)} {
		if all := c.expect(wire.RepAck, wire.OptListMetaContext, q); len(all) != 1 {
			t.Errorf("list of contexts %q: %d replies", q, len(all))
		}
	}
	c.expect(wire.RepErrInvalid, wire.OptSetMetaContext, queries("base:"), "x")
	infos := c.expect(wire.RepAck, wire.OptInfo, name("one", wire.InfoName, wire.InfoDescription, wire.InfoBlockSize, 999))
	want := []string{
		string(wire.Geometry{Size: 10_000, Flags: wire.HasFlags | wire.ReadOnly | wire.CanMultiConn | wire.SendCache | wire.SendDF}.Append(nil)),
		"\x00\x01one", "\x00\x02the first",
		string(wire.BlockSize{Min: 1, Preferred: 4096, Max: 32 << 20}.Append(nil)),
	}
	for i, r := range infos {
		if i >= len(want) || string(r.data) != want[i] {
			t.Errorf("info %d: %q", i, r.data)
		}
	}
	if all := c.expect(wire.RepAck, wire.OptAbort, "ignored"); len(all) != 0 {
		t.Error("the end is answered at length")
	}
	c.gone()
}

// TestHandshakeEnds does in a handshake what ends the connection.
func TestHandshakeEnds(t *testing.T) {
	path := serve(t, shelf{"": {Disk: newRAM(make([]byte, 10))}}, Options{})
	for what, parts := range map[string][]any{
		"unknown flags":         {uint32(1 << 2)},
		"no option":             {bothFlags, "GET / HTTP/1.1\r\n\r\n"},
		"a huge option":         {bothFlags, wire.OptionHeader{Option: wire.OptGo, Len: math.MaxUint32}.Append(nil)},
		"a huge name":           {bothFlags, wire.OptionHeader{Option: wire.OptExportName, Len: wire.MaxOption + 1}.Append(nil)},
		"an unknown export":     {bothFlags, wire.OptionHeader{Option: wire.OptExportName, Len: 1}.Append(nil), "x"},
		"a name that is none":   {bothFlags, wire.OptionHeader{Option: wire.OptExportName, Len: 1}.Append(nil), "\xff"},
		"a request, not option": {bothFlags, wire.Request{}.Append(nil)},
	} {
		t.Run(what, func(t *testing.T) {
			c := connect(t, path, parts[0].(uint32))
			c.write(parts[1:]...)
			c.gone()
		})
	}
}

// TestExportName chooses an export as old clients do.
func TestExportName(t *testing.T) {
	path := serve(t, shelf{"x": {Disk: newRAM(make([]byte, 10))}}, Options{})
	for flags, zeros := range map[uint32]int{0: 124, bothFlags: 0} {
		c := connect(t, path, flags)
		c.write(wire.OptionHeader{Option: wire.OptExportName, Len: 1}.Append(nil), "x")
		want := bytesOf(uint64(10), wire.HasFlags|wire.ReadOnly|wire.CanMultiConn|wire.SendCache, make([]byte, zeros))
		if got := c.read(len(want)); !bytes.Equal(got, want) {
			t.Errorf("flags %d: %q", flags, got)
		}
		c.ask(wire.Request{Command: wire.CmdRead, Cookie: 5, Len: 10})
		if got := c.read(wire.SimpleReplyLen + 10); !bytes.Equal(got, append(wire.SimpleReply{Cookie: 5}.Append(nil), make([]byte, 10)...)) {
			t.Errorf("flags %d: %q", flags, got)
		}
	}
}

// TestRequests sends requests that are answered with an error, and then a good one.
func TestRequests(t *testing.T) {
	const size = 100_000
	full := &fullDisk{newRAM(make([]byte, size))}
	data := make([]byte, size)
	data[50_000] = 1
	disk := newRAM(data)
	disk.bad = 50_000
	exports := shelf{"r": {Disk: disk}, "w": {Disk: disk, Writable: disk}, "full": {Disk: full, Writable: full}}
	path := serve(t, exports, Options{})
	type R = wire.Request
	for _, tc := range []struct {
		export string
		r      R
		want   wire.Errno
	}{
		{"r", R{Command: wire.CmdRead, Len: 16}, 0},
		{"r", R{Command: wire.CmdRead, Off: size}, 0},
		{"r", R{Command: wire.CmdRead, Off: size, Len: 1}, wire.EINVAL},
		{"r", R{Command: wire.CmdRead, Len: size + 1}, wire.EINVAL},
		{"r", R{Command: wire.CmdRead, Off: math.MaxUint64, Len: 1}, wire.EINVAL},
		{"r", R{Command: wire.CmdRead, Off: math.MaxUint64 - 7, Len: 16}, wire.EINVAL},
		{"r", R{Command: wire.CmdRead, Off: 1 << 63, Len: 1}, wire.EINVAL},
		{"r", R{Command: wire.CmdRead, Len: math.MaxUint32}, wire.EINVAL},
		{"r", R{Command: wire.CmdRead, Len: 1, Flags: wire.FlagFUA}, wire.EINVAL},
		{"w", R{Command: wire.CmdRead, Len: 1, Flags: wire.FlagFUA}, 0},
		{"r", R{Command: wire.CmdRead, Len: 1, Flags: wire.FlagReqOne}, wire.EINVAL},
		{"r", R{Command: wire.CmdRead, Len: 1, Flags: 1 << 15}, wire.EINVAL},
		{"r", R{Command: wire.CmdRead, Off: 49_999, Len: 2}, wire.EIO},
		{"r", R{Command: wire.CmdRead, Off: 10_000, Len: 60_000}, wire.EIO},
		{"r", R{Command: wire.CmdCache, Off: 50_000, Len: 1}, wire.EIO},
		{"r", R{Command: wire.CmdCache, Len: 40_000}, 0},
		{"r", R{Command: wire.CmdCache, Off: 1, Len: size}, wire.EINVAL},
		{"r", R{Command: wire.CmdWrite, Len: 5}, wire.EPERM},
		{"r", R{Command: wire.CmdWrite, Len: size}, wire.EPERM},
		{"r", R{Command: wire.CmdTrim, Len: 5}, wire.EPERM},
		{"r", R{Command: wire.CmdWriteZeroes, Len: 5}, wire.EPERM},
		{"r", R{Command: wire.CmdFlush}, 0},
		{"w", R{Command: wire.CmdFlush}, 0},
		{"w", R{Command: wire.CmdWrite, Len: 5, Off: size - 4}, wire.ENOSPC},
		{"w", R{Command: wire.CmdWrite, Len: 5, Off: math.MaxUint64}, wire.ENOSPC},
		{"w", R{Command: wire.CmdWrite, Len: 5, Flags: wire.FlagDF}, wire.EINVAL},
		{"w", R{Command: wire.CmdWrite}, 0},
		{"w", R{Command: wire.CmdWriteZeroes, Len: math.MaxUint32}, wire.ENOSPC},
		{"w", R{Command: wire.CmdTrim, Len: math.MaxUint32}, wire.EINVAL},
		{"w", R{Command: wire.CmdWriteZeroes, Len: 9, Flags: wire.FlagNoHole | wire.FlagFastZero}, wire.ENOTSUP},
		{"w", R{Command: wire.CmdWriteZeroes, Len: 9, Flags: wire.FlagFastZero | wire.FlagFUA}, 0},
		{"w", R{Command: wire.CmdWriteZeroes, Len: 9, Flags: wire.FlagNoHole}, 0},
		{"w", R{Command: wire.CmdTrim, Len: 9, Flags: wire.FlagFUA}, 0},
		{"full", R{Command: wire.CmdWrite, Len: 9}, wire.ENOSPC},
		{"full", R{Command: wire.CmdFlush}, wire.EIO},
		{"full", R{Command: wire.CmdTrim, Len: 9, Flags: wire.FlagFUA}, wire.EIO},
		{"r", R{Command: wire.CmdBlockStatus}, wire.EINVAL},
		{"r", R{Command: wire.CmdBlockStatus, Off: size - 5, Len: 6}, wire.EINVAL},
		{"r", R{Command: 8, Len: 1}, wire.EINVAL},
		{"w", R{Command: math.MaxUint16, Off: math.MaxUint64, Len: math.MaxUint32, Flags: math.MaxUint16}, wire.EINVAL},
	} {
		for _, structured := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s %+v %t", tc.export, tc.r, structured), func(t *testing.T) {
				c := connect(t, path, bothFlags)
				c.begin(tc.export, structured)
				var data []byte
				if tc.r.Command == wire.CmdWrite {
					data = make([]byte, tc.r.Len)
				}
				for cookie := range uint64(2) {
					tc.r.Cookie = cookie
					c.ask(tc.r, data)
					if tc.want == 0 && tc.r.Command == wire.CmdRead && tc.r.Len > 0 {
						if structured {
							c.read(wire.ChunkLen + 8 + int(tc.r.Len))
						} else {
							c.read(wire.SimpleReplyLen + int(tc.r.Len))
						}
						continue
					}
					if got := c.errno(cookie); got != tc.want {
						t.Errorf("error %d, want %d", got, tc.want)
					}
				}
				c.ask(wire.Request{Command: wire.CmdDisconnect})
				c.gone()
			})
		}
	}
}

// TestLimits asks a huge disk for more than a request may have, and for as much as it may.
func TestLimits(t *testing.T) {
	disk := image.Sparse{Bytes: 1 << 42}
	path := serve(t, shelf{"": {Disk: disk}, "other": {Disk: disk}}, Options{})
	simple, structured := connect(t, path, bothFlags), connect(t, path, bothFlags)
	simple.begin("", false)
	structured.begin("", true)
	most := wire.Request{Command: wire.CmdRead, Off: 1<<42 - 1<<32, Len: wire.MaxPayload}
	more := most
	more.Len++
	for c, want := range map[*rawClient]wire.Errno{simple: wire.EINVAL, structured: wire.EOVERFLOW} {
		c.ask(more)
		if e := c.errno(0); e != want {
			t.Errorf("a read of %d: error %d, want %d", more.Len, e, want)
		}
	}
	simple.ask(most)
	simple.read(wire.SimpleReplyLen + wire.MaxPayload)
	most.Flags = wire.FlagDF
	structured.ask(most)
	structured.read(wire.ChunkLen + 8 + wire.MaxPayload)
	for _, flags := range []uint16{0, wire.FlagReqOne} {
		structured.ask(wire.Request{Command: wire.CmdBlockStatus, Off: 1 << 41, Len: math.MaxUint32, Flags: flags})
		want := bytesOf(wire.Chunk{Flags: 1, Type: wire.ChunkBlockStatus, Len: 12}.Append(nil), uint32(contextID), uint32(math.MaxUint32), uint32(3))
		if got := structured.read(len(want)); !bytes.Equal(got, want) {
			t.Errorf("block status: %q", got)
		}
	}
	// A context that was selected for one export is not one for another.
	c := connect(t, path, bothFlags)
	c.expect(wire.RepAck, wire.OptStructuredReply)
	c.expect(wire.RepAck, wire.OptSetMetaContext, wire.MetaRequest{Name: "other", Queries: []string{wire.AllocationContext}}.Append(nil))
	c.expect(wire.RepAck, wire.OptGo, wire.InfoRequest{}.Append(nil))
	c.ask(wire.Request{Command: wire.CmdBlockStatus, Len: 1000})
	if e := c.errno(0); e != wire.EINVAL {
		t.Errorf("block status without a context: error %d", e)
	}
}

// A fullDisk takes no more writes, and cannot be synced either.
type fullDisk struct{ *ram }

func (fullDisk) WriteAt([]byte, int64) (int, error) {
	return 0, fmt.Errorf("write: %w", syscall.ENOSPC)
}
func (fullDisk) Sync() error { return errWanted }

// TestTransmissionEnds does in transmission what ends the connection.
func TestTransmissionEnds(t *testing.T) {
	disk := newRAM(make([]byte, 100))
	path := serve(t, shelf{"": {Disk: disk, Writable: disk}}, Options{})
	for what, parts := range map[string][]any{
		"no request":   {"GET / HTTP/1.1\r\nHost: example\r\n\r\n"},
		"a huge write": {wire.Request{Command: wire.CmdWrite, Len: wire.MaxPayload + 1}.Append(nil)},
		"an end":       {wire.Request{Command: wire.CmdDisconnect, Off: 1, Len: 2, Flags: 3}.Append(nil)},
	} {
		t.Run(what, func(t *testing.T) {
			c := connect(t, path, bothFlags)
			c.begin("", true)
			c.write(parts...)
			c.gone()
		})
	}
}

// TestSyncFails sees the error of the last Sync come out of Serve, and in Failed.
func TestSyncFails(t *testing.T) {
	full := &fullDisk{newRAM(make([]byte, 100))}
	failures := make(chan error, 1)
	l, err := ListenUnix(t.Context(), t.TempDir()+"/s")
	if err != nil {
		t.Fatal(err)
	}
	closed := false
	exports := shelf{"w": {Disk: full, Writable: full, Close: func() error { closed = true; return nil }}}
	end := serveOn(t, l, exports, Options{Failed: func(_ string, err error) { failures <- err }})
	c := connect(t, l.Addr().String(), bothFlags)
	c.begin("w", false)
	if err := end(); !errors.Is(err, errWanted) || !errors.Is(<-failures, errWanted) || !closed {
		t.Errorf("Serve: %v; closed: %t", err, closed)
	}
	c.gone()
}

// TestNetwork refuses to serve where other machines could come in.
func TestNetwork(t *testing.T) {
	for _, address := range []string{"0.0.0.0:0", "[::]:0", ":0", "192.0.2.1:0", "192.0.2.1"} {
		if _, err := ListenTCP(t.Context(), address, nil); !errors.Is(err, ErrNeedsTLS) {
			t.Errorf("%s: %v", address, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, address := range []string{"127.0.0.1:0", "[::1]:0", "localhost:0"} {
		l, err := ListenTCP(t.Context(), address, nil)
		if err != nil {
			t.Logf("%s: %v", address, err) // this machine may have no IPv6
			continue
		}
		if err := Serve(ctx, l, shelf{}, Options{}); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
}
