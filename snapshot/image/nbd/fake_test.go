package nbd

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"

	"platter/snapshot/image/nbd/wire"
)

// TestCancel reads from a server that does not answer: the read ends with its context, and later ones work.
func TestCancel(t *testing.T) {
	d, server := fake(t, offer{Geometry: wire.Geometry{Size: 1 << 20}, block: wire.BlockSize{Min: 1, Max: 1 << 20}})
	ctx, cancel := context.WithCancelCause(t.Context())
	p := make([]byte, 4)
	outcome := make(chan error, 1)
	go func() {
		_, err := d.ReadAtContext(ctx, p, 0)
		outcome <- err
	}()
	r := request(t, server)
	stopped := errors.New("stopped")
	cancel(stopped)
	if err := <-outcome; !errors.Is(err, stopped) {
		t.Errorf("a read whose context ended: %v", err)
	}
	late := append(wire.SimpleReply{Cookie: r.Cookie}.Append(nil), "late"...)
	if _, err := server.Write(late); err != nil {
		t.Fatal(err)
	}
	go func() {
		r := request(t, server)
		_, _ = server.Write(append(wire.SimpleReply{Cookie: r.Cookie}.Append(nil), "good"...))
	}()
	q := make([]byte, 4)
	if _, err := d.ReadAt(q, 8); err != nil || string(q) != "good" || string(p) != "\x00\x00\x00\x00" {
		t.Errorf("the read after it: %q, %v; the one before: %q", q, err, p)
	}
}

// TestContextOfOpen ends the context of Open: reads and searches for extents that have no context of their own end with it.
func TestContextOfOpen(t *testing.T) {
	d, _ := fake(t, testOffer)
	ctx, cancel := context.WithCancelCause(t.Context())
	d.ctx = ctx
	stopped := errors.New("stopped")
	cancel(stopped)
	if _, err := d.ReadAt(make([]byte, 4), 0); !errors.Is(err, stopped) {
		t.Errorf("read: %v", err)
	}
	if _, err := d.ReadSectors(make([]byte, 512), 0); !errors.Is(err, stopped) {
		t.Errorf("read sectors: %v", err)
	}
	n := 0
	for _, err := range d.Extents() {
		if n++; !errors.Is(err, stopped) {
			t.Errorf("extents: %v", err)
		}
	}
	if n != 1 {
		t.Errorf("%d extents", n)
	}
}

// fake returns a disk whose server is the test.
func fake(t testing.TB, o offer) (*Disk, net.Conn) {
	t.Helper()
	client, server := net.Pipe()
	d := &Disk{ctx: t.Context(), offer: o, conns: []*conn{newConn(client, newReader(client), o)}}
	t.Cleanup(func() {
		server.Close()
		d.Close()
	})
	return d, server
}

func request(t testing.TB, server net.Conn) wire.Request {
	var b [wire.RequestLen]byte
	if _, err := io.ReadFull(server, b[:]); err != nil {
		t.Error(err)
	}
	r, err := wire.ParseRequest(b[:])
	if err != nil {
		t.Error(err)
	}
	return r
}
