//go:build unix

package nbd

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"testing"

	"golang.org/x/sync/errgroup"

	"platter/snapshot/image"
	client "platter/snapshot/image/nbd"
	"platter/snapshot/image/nbd/wire"
)

// rounds is n, or fewer in a short test.
func rounds(n int) int {
	if testing.Short() {
		return (n + 2) / 3
	}
	return n
}

// TestModel changes a disk over several connections, and reads it over others, against a slice in memory.
func TestModel(t *testing.T) {
	for seed := range uint64(rounds(4)) {
		rng := rand.New(rand.NewPCG(seed, 5))
		size := rng.IntN(2<<20) + 1
		model := patchy(rng, size)
		disk := newRAM(bytes.Clone(model))
		path := serve(t, shelf{"d": {Disk: disk, Writable: disk}}, Options{})
		reader, err := client.Open(t.Context(), uri(path, "d"), client.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer reader.Close()
		writers := []*rawClient{connect(t, path, bothFlags), connect(t, path, bothFlags), connect(t, path, bothFlags)}
		for i, w := range writers {
			w.begin("d", i > 0)
		}
		for cookie := range uint64(150) {
			off := rng.IntN(size)
			n := rng.IntN(min(size-off, 1<<[]int{6, 13, 21}[rng.IntN(3)])) + 1
			w := writers[rng.IntN(len(writers))]
			r := wire.Request{Cookie: cookie, Off: uint64(off), Len: uint32(n), Flags: uint16(rng.IntN(2)) * wire.FlagFUA}
			part := model[off : off+n]
			switch rng.IntN(6) {
			case 0:
				for i := range part {
					part[i] = byte(rng.Uint32())
				}
				r.Command = wire.CmdWrite
				w.ask(r, part)
			case 1:
				r.Command = []wire.Command{wire.CmdTrim, wire.CmdWriteZeroes}[rng.IntN(2)]
				if r.Command == wire.CmdWriteZeroes && rng.IntN(2) == 0 {
					r.Flags |= wire.FlagNoHole
				}
				clear(part)
				w.ask(r)
			case 2:
				r = wire.Request{Cookie: cookie, Command: wire.CmdFlush}
				w.ask(r)
			case 3:
				compareExtents(t, reader, model, int64(off), int64(n))
				continue
			default:
				compare(t, reader, model, int64(off), n)
				continue
			}
			if e := w.errno(cookie); e != 0 {
				t.Fatalf("%+v: error %d", r, e)
			}
			now, durable := disk.state()
			if !bytes.Equal(now, model) {
				t.Fatalf("%+v: the disk is something else", r)
			}
			if (r.Command == wire.CmdFlush || r.Flags&wire.FlagFUA != 0) && !bytes.Equal(durable, model) {
				t.Fatalf("%+v: something else is durable", r)
			}
		}
		compare(t, reader, model, 0, size)
		compareExtents(t, reader, model, 0, int64(size))
	}
}

func compare(t *testing.T, d image.Disk, model []byte, off int64, n int) {
	t.Helper()
	p := make([]byte, n)
	if _, err := d.ReadAt(p, off); err != nil && err != io.EOF || !bytes.Equal(p, model[off:off+int64(n)]) {
		t.Fatalf("read %d at %d: %v, or wrong bytes", n, off, err)
	}
}

// compareExtents checks that extents are without gaps, say nothing false, and know blocks of zeros.
func compareExtents(t *testing.T, d image.Disk, model []byte, off, n int64) {
	t.Helper()
	at, zeros := off, int64(0)
	for e, err := range image.ExtentsIn(t.Context(), d, off, n) {
		if err != nil || e.Off != at || e.Len <= 0 || at+e.Len > off+n {
			t.Fatalf("extents of %d at %d: %+v, %v", n, off, e, err)
		}
		at += e.Len
		if e.Zero {
			zeros += e.Len
			if len(bytes.Trim(model[e.Off:at], "\x00")) > 0 {
				t.Fatalf("extent %+v has data", e)
			}
		}
	}
	if at != off+n {
		t.Fatalf("extents of %d at %d end at %d", n, off, at)
	}
	if certain := zeroBlocks(model, off, n); zeros < certain {
		t.Fatalf("extents of %d at %d have %d bytes of zeros, want %d or more", n, off, zeros, certain)
	}
}

// zeroBlocks is how many bytes of a range are in whole blocks of zeros.
func zeroBlocks(model []byte, off, n int64) (sum int64) {
	for at := (off + 4095) / 4096 * 4096; at+4096 <= off+n; at += 4096 {
		if len(bytes.Trim(model[at:at+4096], "\x00")) == 0 {
			sum += 4096
		}
	}
	return sum
}

// TestManyReaders reads a disk by many goroutines over few connections, while requests are cancelled.
func TestManyReaders(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	data := patchy(rng, 3<<20)
	var stats Stats
	path := serve(t, shelf{"": {Disk: newRAM(data)}}, Options{Stats: &stats, MaxRequests: 3, Memory: 1})
	d, err := client.Open(t.Context(), uri(path, ""), client.Options{Connections: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	var g errgroup.Group
	for i := range 16 {
		g.Go(func() error {
			rng := rand.New(rand.NewPCG(1, uint64(i)))
			for range rounds(30) {
				off := rng.IntN(len(data))
				p := make([]byte, rng.IntN(min(len(data)-off, 2<<20))+1)
				ctx, cancel := context.WithCancel(t.Context())
				if rng.IntN(3) == 0 {
					go cancel()
				}
				_, err := d.ReadAtContext(ctx, p, int64(off))
				if err == nil && !bytes.Equal(p, data[off:off+len(p)]) {
					t.Errorf("read %d at %d: wrong bytes", len(p), off)
				}
				if err != nil && ctx.Err() == nil {
					t.Errorf("read %d at %d: %v", len(p), off, err)
				}
				cancel()
			}
			return nil
		})
	}
	_ = g.Wait()
	if stats.Accepted.Load() != 2 || stats.Reads.Load() == 0 || stats.ReadBytes.Load() == 0 || stats.Failures.Load() != 0 {
		t.Errorf("%d connections, %d reads, %d bytes, %d failures", stats.Accepted.Load(), stats.Reads.Load(),
			stats.ReadBytes.Load(), stats.Failures.Load())
	}
}
