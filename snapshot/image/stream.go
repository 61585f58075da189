package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"syscall"

	"golang.org/x/term"
)

// A Stream is a disk of unknown size that can be read once: standard input. Only one goroutine may read it; any may
// call Close.
type Stream struct {
	ctx    context.Context // stored because io.Reader cannot pass it
	input  *os.File
	waiter *waiter
	closed atomic.Bool
}

var _ io.ReadCloser = (*Stream)(nil)

// OpenStream returns a stream that reads f, usually os.Stdin, until its end or until ctx is done. f stays the caller's:
// close the stream before f. OpenStream refuses a terminal and a folder.
func OpenStream(ctx context.Context, f *os.File) (*Stream, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("open stream: %w", err)
	}
	if info.IsDir() {
		return nil, errors.New("open stream: standard input is a folder: redirect a disk image or a command into it")
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("open stream: %w", err)
	}
	terminal := false
	if err := raw.Control(func(fd uintptr) { terminal = term.IsTerminal(int(fd)) }); err != nil {
		return nil, fmt.Errorf("open stream: %w", err)
	}
	if terminal {
		return nil, errors.New("open stream: standard input is a terminal: redirect a disk image or a command into it, " +
			"as in - < disk.img")
	}
	w, err := newWaiter(ctx, raw)
	if err != nil {
		return nil, fmt.Errorf("open stream: %w", err)
	}
	return &Stream{ctx: ctx, input: f, waiter: w}, nil
}

// Read returns ctx's error as soon as ctx is done, and fs.ErrClosed after Close, even while it waits. On Windows, and
// on files that cannot be polled, a waiting read continues to wait.
func (s *Stream) Read(p []byte) (int, error) {
	for {
		s.waiter.wait()
		if err := s.ctx.Err(); err != nil {
			return 0, err
		}
		if s.closed.Load() {
			return 0, os.ErrClosed
		}
		n, err := s.input.Read(p)
		if n == 0 && errors.Is(err, syscall.EAGAIN) {
			continue // another process made the pipe non-blocking and read the bytes first
		}
		return n, err
	}
}

// Close ends a waiting Read. It does not close the file.
func (s *Stream) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	return s.waiter.close()
}
