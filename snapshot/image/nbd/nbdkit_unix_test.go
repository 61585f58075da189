//go:build unix

package nbd

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sync/errgroup"

	"platter/snapshot/image"
	"platter/snapshot/image/nbd/wire"
)

// nbdkit serves with nbdkit until the test ends, and returns the URI.
func nbdkit(t *testing.T, args ...string) string {
	t.Helper()
	socket, _ := server(t, "nbdkit", append([]string{"-f"}, args...)...)
	return "nbd+unix:///?socket=" + socket
}

// sparse returns data with holes of whole blocks.
func sparse(rng *rand.Rand, size int) []byte {
	data := make([]byte, size)
	for off := 0; off < size; off += 64 << 10 {
		if rng.IntN(2) == 0 {
			for i := off; i < min(off+64<<10, size); i++ {
				data[i] = byte(rng.Uint32())
			}
		}
	}
	return data
}

// imageFile writes data to a file with holes.
func imageFile(t *testing.T, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk.img")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for off := 0; off < len(data); off += 64 << 10 {
		if p := data[off:min(off+64<<10, len(data))]; len(bytes.Trim(p, "\x00")) > 0 {
			if _, err := f.WriteAt(p, int64(off)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := f.Truncate(int64(len(data))); err != nil {
		t.Fatal(err)
	}
	return path
}

func open(t *testing.T, uri string, o Options) *Disk {
	t.Helper()
	d, err := Open(t.Context(), uri, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// verify reads a disk in many ways and compares it with its bytes, holes included.
func verify(t *testing.T, d *Disk, want []byte, seed uint64) {
	t.Helper()
	if d.Size() != int64(len(want)) {
		t.Fatalf("size %d, want %d", d.Size(), len(want))
	}
	var g errgroup.Group
	for i := range 4 {
		g.Go(func() error {
			rng := rand.New(rand.NewPCG(seed, uint64(i)))
			for range 10 {
				off := rng.Int64N(int64(len(want)) + 10)
				p := make([]byte, rng.IntN([]int{1, 5000, 3 << 20}[rng.IntN(3)]+1))
				n, err := d.ReadAt(p, off)
				end := min(off+int64(len(p)), int64(len(want)))
				if short := off+int64(len(p)) > int64(len(want)); short != (err == io.EOF) || !short && err != nil {
					t.Errorf("read %d at %d of %d: %v", len(p), off, len(want), err)
				}
				if off < end && !bytes.Equal(p[:n], want[off:end]) {
					t.Errorf("read %d at %d: wrong bytes", len(p), off)
				}
			}
			return nil
		})
	}
	_ = g.Wait()
	off := int64(0)
	for e, err := range d.Extents() {
		if err != nil {
			t.Fatal(err)
		}
		if e.Off != off || e.Len <= 0 {
			t.Fatalf("extent %+v after %d", e, off)
		}
		off += e.Len
		if e.Zero && len(bytes.Trim(want[e.Off:off], "\x00")) > 0 {
			t.Errorf("extent %+v is not zero", e)
		}
	}
	if off != int64(len(want)) {
		t.Errorf("the extents end at %d of %d", off, len(want))
	}
}

// TestNbdkit reads disks of many kinds from nbdkit.
func TestNbdkit(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	data := sparse(rng, 5<<20)
	file := imageFile(t, data)
	odd := imageFile(t, data[:3<<20+777])
	for _, tc := range []struct {
		name  string
		args  []string
		want  []byte
		conns int
		holes bool
	}{
		{"a file", []string{"file", file}, data, 4, true},
		{"read-only", []string{"-r", "file", file}, data, 4, true},
		{"odd size", []string{"file", odd}, data[:3<<20+777], 4, true},
		{"one connection", []string{"--filter=multi-conn", "file", file, "multi-conn-mode=disable"}, data, 1, true},
		{"no holes", []string{"--filter=noextents", "file", file}, data, 4, true},
		{"simple replies", []string{"--no-sr", "file", file}, data, 4, false},
		{"zeroes in the handshake", []string{"--mask-handshake=1", "file", file}, data, 4, true},
		{"large blocks", []string{
			"--filter=blocksize-policy", "file", file, "blocksize-minimum=65536",
			"blocksize-preferred=65536", "blocksize-maximum=131072", "blocksize-error-policy=error",
		}, data, 4, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := open(t, nbdkit(t, tc.args...), Options{})
			if len(d.conns) != tc.conns {
				t.Errorf("%d connections, want %d", len(d.conns), tc.conns)
			}
			if d.allocation != tc.holes {
				t.Errorf("holes are known: %t", d.allocation)
			}
			verify(t, d, tc.want, 7)
		})
	}
}

// TestServerErrors tells media errors from others.
func TestServerErrors(t *testing.T) {
	file := imageFile(t, bytes.Repeat([]byte("data"), 64<<10))
	uri := nbdkit(t, "--filter=error", "file", file, "error-pread=EIO", "error-pread-rate=100%")
	d := open(t, uri, Options{})
	var remote *ServerError
	if _, err := d.ReadAt(make([]byte, 4096), 0); !image.IsMediaError(err) || !errors.As(err, &remote) || remote.Number != wire.EIO {
		t.Errorf("an EIO of the server: %v", err)
	}
	if _, err := d.ReadAt(make([]byte, 4096), -1); err == nil || image.IsMediaError(err) {
		t.Errorf("a negative offset: %v", err)
	}
	for e, err := range d.Extents() {
		if err != nil || e.Len == 0 {
			t.Errorf("extents: %+v, %v", e, err)
		}
	}
}
