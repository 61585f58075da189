package nbd

import (
	"errors"
	"io"
	"syscall"
	"testing"

	"platter/snapshot/image"
	"platter/snapshot/image/nbd/wire"
)

// TestLost loses the connection in the middle of a read, and has the network time out: neither is a media error.
func TestLost(t *testing.T) {
	d, server := fake(t, testOffer)
	go func() {
		r := request(t, server)
		_, _ = server.Write(chunk(r, 0, wire.ChunkOffsetData, uint64(0), "some"))
		server.Close()
	}()
	check := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, ErrLost) || image.IsMediaError(err) || errors.Is(err, io.EOF) {
			t.Errorf("%s: %v", what, err)
		}
	}
	_, err := d.ReadAt(make([]byte, 100), 0)
	check("hung up", err)

	d, server = fake(t, testOffer)
	go func() {
		request(t, server)
		d.conns[0].fail(syscall.ETIMEDOUT)
	}()
	_, err = d.ReadAt(make([]byte, 100), 0)
	check("timed out", err)
	for _, err := range d.Extents() {
		check("extents", err)
	}

	d, server = fake(t, testOffer)
	go func() {
		request(t, server)
		go func() { _, _ = io.Copy(io.Discard, server) }()
		d.Close()
	}()
	_, err = d.ReadAt(make([]byte, 100), 0)
	check("closed", err)
	if err := d.Close(); err != nil {
		t.Errorf("closed again: %v", err)
	}
}

// TestOneLost loses one of two connections: reads over the other fail too.
func TestOneLost(t *testing.T) {
	d, first := fake(t, testOffer)
	other, second := fake(t, testOffer)
	d.conns = append(d.conns, other.conns...)
	go func() {
		for b := make([]byte, wire.RequestLen); ; {
			if _, err := io.ReadFull(second, b); err != nil {
				return
			}
			r, _ := wire.ParseRequest(b)
			_, _ = second.Write(chunk(r, 1, wire.ChunkOffsetHole, r.Off, r.Len))
		}
	}()
	first.Close()
	<-d.conns[0].ended
	for range 5 {
		if _, err := d.ReadAt(make([]byte, 1), 0); !errors.Is(err, ErrLost) {
			t.Errorf("read: %v", err)
		}
	}
}

// TestShortServer reads 3 MiB of a server that fails in the second piece: what is before it counts.
func TestShortServer(t *testing.T) {
	d, server := fake(t, testOffer)
	d.offer.Size = 3 << 20
	go func() {
		var all []wire.Request
		for range 3 {
			all = append(all, request(t, server))
		}
		_, _ = server.Write(chunk(all[2], 1, wire.ChunkOffsetHole, uint64(2<<20), uint32(1<<20)))
		_, _ = server.Write(simpleError(all[1]))
		_, _ = server.Write(chunk(all[0], 1, wire.ChunkOffsetHole, uint64(0), uint32(1<<20)))
	}()
	n, err := d.ReadAt(make([]byte, 3<<20), 0)
	if n != 1<<20 || !image.IsMediaError(err) {
		t.Errorf("read %d bytes, %v", n, err)
	}
}

func simpleError(r wire.Request) []byte {
	return chunk(r, 1, wire.ChunkError, uint32(wire.EIO), uint16(0))
}
