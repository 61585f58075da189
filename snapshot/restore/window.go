package restore

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"platter/chunk"
)

// windowSize is how much of a target one read reads, in bytes.
const windowSize = 2 << 20

// A windowReader reads a target from front to back in large steps. It is not safe for concurrent use.
type windowReader struct {
	from io.ReaderAt
	buf  []byte
	data []byte // the content of buf
	off  int64  // of data, bytes
}

// view returns n bytes at off. If it has to read, it reads ahead up to limit for the next call. The bytes are valid
// until the next call.
func (r *windowReader) view(off, n, limit int64) ([]byte, error) {
	if off < r.off || off+n > r.off+int64(len(r.data)) {
		if err := r.read(off, n, limit); err != nil {
			return nil, err
		}
	}
	return r.data[off-r.off:][:n], nil
}

func (r *windowReader) read(off, n, limit int64) error {
	size := max(n, min(windowSize, limit-off))
	// Whole blocks can bypass the page cache, even at the disk's end.
	size = (size + chunk.Block - 1) &^ (chunk.Block - 1)
	if int64(len(r.buf)) < size {
		r.buf = make([]byte, max(size, windowSize))
	}
	r.data = nil
	got, err := r.from.ReadAt(r.buf[:size], off)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read back: %w", err)
	}
	if int64(got) < n {
		return fmt.Errorf("read back: it ends at %d: %w", off+int64(got), io.ErrUnexpectedEOF)
	}
	r.data, r.off = r.buf[:got], off
	return nil
}

// windows is a pool of idle readers of a target.
type windows struct {
	from io.ReaderAt
	pool sync.Pool // of *windowReader
}

// take returns a reader with nothing buffered.
func (w *windows) take() *windowReader {
	r, ok := w.pool.Get().(*windowReader)
	if !ok {
		return &windowReader{from: w.from}
	}
	r.data = nil
	return r
}

func (w *windows) put(r *windowReader) { w.pool.Put(r) }
