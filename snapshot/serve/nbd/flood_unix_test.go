//go:build unix

package nbd

import (
	"bytes"
	"context"
	"io"
	"net"
	"sync"
	"testing"

	"platter/snapshot/image/nbd/wire"
)

// TestHandshakes makes 10,000 handshakes, good and bad. The server is then as it was.
func TestHandshakes(t *testing.T) {
	n := 10_000
	if testing.Short() {
		n = 1000
	}
	var stats Stats
	path := serve(t, shelf{"d": {Disk: newRAM(make([]byte, 10))}}, Options{Stats: &stats})
	junk := bytes.Repeat([]byte("junk"), 100)
	for i := range n {
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		switch i % 4 {
		case 0:
		case 1:
			_, _ = c.Write(junk)
		case 2:
			_, _ = c.Write(bytesOf(bothFlags))
		case 3:
			_, _ = c.Write(bytesOf(bothFlags, wire.OptionHeader{Option: wire.OptExportName, Len: 1}.Append(nil), "d",
				wire.Request{Command: wire.CmdDisconnect}.Append(nil)))
			_, _ = io.Copy(io.Discard, c)
		}
		c.Close()
	}
	c := connect(t, path, bothFlags)
	c.begin("d", true)
	c.ask(wire.Request{Command: wire.CmdRead, Len: 10})
	c.read(wire.ChunkLen + 8 + 10)
	if accepted := stats.Accepted.Load(); accepted != int64(n)+1 {
		t.Errorf("%d of %d connections were accepted", accepted, n)
	}
}

// TestMemory has many clients ask for much at once, and read nothing: what the server holds for them is bounded.
func TestMemory(t *testing.T) {
	const limit = 32 << 20
	data := make([]byte, wire.MaxPayload)
	for i := range data {
		data[i] = 1
	}
	disk := &counted{ram: newRAM(data)}
	path := serve(t, shelf{"": {Disk: disk}}, Options{Memory: limit})
	var all []*rawClient
	for i := range rounds(30) {
		c := connect(t, path, bothFlags)
		c.begin("", i%2 == 0)
		for range rounds(20) {
			c.ask(wire.Request{Command: wire.CmdRead, Len: wire.MaxPayload})
		}
		all = append(all, c)
	}
	// Each reads the start of a reply and leaves, and so makes room for the next.
	var clients sync.WaitGroup
	for _, c := range all {
		clients.Go(func() {
			if _, err := io.ReadFull(c, make([]byte, 1000)); err != nil {
				t.Error(err)
			}
			c.Close()
		})
	}
	clients.Wait()
	if most := disk.most(); most > limit {
		t.Errorf("reads of %d bytes at a time", most)
	}
}

// counted is a disk that counts the bytes that are read at the same time.
type counted struct {
	*ram
	counter
}

func (c *counted) ReadAtContext(ctx context.Context, p []byte, off int64) (int, error) {
	c.add(int64(len(p)))
	defer c.add(-int64(len(p)))
	return c.ram.ReadAtContext(ctx, p, off)
}
