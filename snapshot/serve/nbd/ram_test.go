package nbd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"platter/snapshot/image"
	"platter/snapshot/image/nbd/wire"
)

// A ram is a writable disk in memory. It knows which of its blocks were written, and what a Sync made durable.
type ram struct {
	syncs atomic.Int64

	mu      sync.RWMutex
	data    []byte
	durable []byte
	bad     int64 // reads that touch this byte fail; -1 for none
}

var _ image.Writable = (*ram)(nil)

func newRAM(data []byte) *ram { return &ram{data: data, durable: bytes.Clone(data), bad: -1} }

func (r *ram) Size() int64 { return int64(len(r.data)) }

func (r *ram) ReadAt(p []byte, off int64) (int, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.bad >= off && r.bad < off+int64(len(p)) {
		n := copy(p[:r.bad-off], r.data[off:])
		return n, fmt.Errorf("byte %d: %w", r.bad, image.ErrUnreadable)
	}
	n := copy(p, r.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (r *ram) ReadAtContext(ctx context.Context, p []byte, off int64) (int, error) {
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	return r.ReadAt(p, off)
}

func (r *ram) WriteAt(p []byte, off int64) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return copy(r.data[off:], p), nil
}

func (r *ram) Zero(off, n int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.data[off : off+n])
	return nil
}

func (r *ram) Sync() error {
	r.syncs.Add(1)
	r.mu.Lock()
	defer r.mu.Unlock()
	copy(r.durable, r.data)
	return nil
}

// state returns what the disk reads as, and what is durable of it.
func (r *ram) state() (now, durable []byte) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return bytes.Clone(r.data), bytes.Clone(r.durable)
}

func (r *ram) Extents() iter.Seq2[image.Extent, error] {
	return r.ExtentsIn(context.Background(), 0, r.Size())
}

// ExtentsIn finds the zero blocks of 4 KiB.
func (r *ram) ExtentsIn(_ context.Context, off, n int64) iter.Seq2[image.Extent, error] {
	return image.Joined(func(yield func(image.Extent, error) bool) {
		zeros := make([]byte, 4096)
		for end := off + n; off < end; {
			n := min(4096-off%4096, end-off)
			r.mu.RLock()
			zero := bytes.Equal(r.data[off:off+n], zeros[:n])
			r.mu.RUnlock()
			if !yield(image.Extent{Off: off, Len: n, Zero: zero}, nil) {
				return
			}
			off += n
		}
	})
}

// shelf is a set of exports by name.
type shelf map[string]*Export

func (s shelf) List(context.Context) (all []wire.Listed, err error) {
	for name, e := range s {
		all = append(all, wire.Listed{Name: name, Description: e.Description})
	}
	return all, nil
}

func (s shelf) Open(_ context.Context, name string) (*Export, error) {
	e, ok := s[name]
	if !ok {
		return nil, fmt.Errorf("no export %q: %w", name, fs.ErrNotExist)
	}
	opened := *e
	return &opened, nil
}

// serve serves exports on a Unix socket until the test ends, and returns the socket's path. Serve must return nil.
func serve(t testing.TB, exports Exports, o Options) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "nbd.sock")
	l, err := ListenUnix(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	serveOn(t, l, exports, o)
	return path
}

// serveOn is serve for any listener. The returned function ends the server, and returns what Serve does.
func serveOn(t testing.TB, l net.Listener, exports Exports, o Options) (end func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, l, exports, o) }()
	end = sync.OnceValue(func() error {
		cancel()
		return <-done
	})
	t.Cleanup(func() {
		if err := end(); err != nil && !errors.Is(err, errWanted) {
			t.Errorf("Serve: %v", err)
		}
	})
	return end
}

// errWanted is an error that a test put in.
var errWanted = errors.New("wanted by the test")

// A counter remembers the most that it was at.
type counter struct {
	mu       sync.Mutex
	now, max int64
}

func (c *counter) add(n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now += n
	c.max = max(c.max, c.now)
}

func (c *counter) most() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.max
}
