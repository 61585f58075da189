package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"os"
	"os/exec"
	"sync"
	"time"

	"golang.org/x/term"

	"platter/snapshot/image"
	"platter/snapshot/image/anatomy"
)

// A stream is a disk that arrives once, from its first byte to its last. Its end does not say whether it is the disk's
// end or that of a broken connection. So a stream without a byte is an error, and so is one of another size than the user
// said.
type stream struct {
	io.ReadCloser
	want int64 // bytes; 0 for any number
	got  int64

	head []byte        // that was read ahead
	last error         // what came behind the head
	said *anatomy.Disk // what the head says of the disk
}

// headLen is how much of a stream is looked at before it is read: its partition table and the first file system's number.
const headLen = 1 << 20

// look reads what the beginning of the stream says of the disk.
func (s *stream) look() *anatomy.Disk {
	if s.said != nil {
		return s.said
	}
	s.head = make([]byte, headLen)
	var n int
	for n < headLen && s.last == nil {
		var m int
		m, s.last = s.ReadCloser.Read(s.head[n:])
		n += m
	}
	s.head = s.head[:n]
	s.said = anatomy.Read(beginning(bytes.Clone(s.head)), 0)
	return s.said
}

// least is how many bytes the disk has by its own account: up to the end of its last partition.
func (s *stream) least() (end int64) {
	for _, p := range s.look().Partitions {
		if p.Len <= math.MaxInt64-p.Off {
			end = max(end, p.Off+p.Len)
		}
	}
	return end
}

// Read reads on. The error is io.EOF only where the stream is what it should be.
func (s *stream) Read(p []byte) (n int, err error) {
	if n = copy(p, s.head); n > 0 {
		s.head = s.head[n:]
	} else if err = s.last; err == nil {
		n, err = s.ReadCloser.Read(p)
	}
	s.got += int64(n)
	switch {
	case s.want > 0 && s.got > s.want:
		return n, fmt.Errorf("the stream has more bytes than the %d of --size; no version is kept", s.want)
	case err != io.EOF:
		return n, err
	case s.got == 0:
		return 0, errors.New("the stream ended without a single byte: what feeds it failed, as a rule; no version is kept")
	case s.want > 0 && s.got < s.want:
		return n, fmt.Errorf("the stream ended after %d bytes, and --size says %d; no version is kept", s.got, s.want)
	}
	return n, io.EOF
}

// A beginning is that of a disk of unknown size: what follows is not there yet, and reads as zeros.
type beginning []byte

// Size is more than any disk has, so that no partition lies behind it.
func (b beginning) Size() int64 { return math.MaxInt64 &^ (1<<20 - 1) }

func (b beginning) ReadAt(p []byte, off int64) (int, error) {
	clear(p)
	if off < int64(len(b)) {
		copy(p, b[off:])
	}
	return len(p), nil
}

func (b beginning) Extents() iter.Seq2[image.Extent, error] {
	return image.Joined(func(yield func(image.Extent, error) bool) { yield(image.Extent{Len: b.Size()}, nil) })
}

// A commandStream is what a command prints. It ends well only where the command does: one that fails after its last byte has
// printed less than all.
type commandStream struct {
	ctx  context.Context // kept because io.Reader has no room for one
	stop context.CancelFunc
	cmd  *exec.Cmd
	line string
	out  *image.Stream
	pipe [2]*os.File // to read from, and to write to

	mu      sync.Mutex
	started bool
	closed  bool
	ended   sync.Once
	err     error // how it ended
}

// commandPatience is how long a command may go on that was told to end: less than platter itself has.
const commandPatience = 500 * time.Millisecond

// newCommandStream returns the output of a command line, which is started when the first byte is wanted. What it says on
// standard error goes to ours.
func newCommandStream(ctx context.Context, env *env, line string) (*commandStream, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("--source-command: %w", err)
	}
	out, err := image.OpenStream(ctx, r)
	if err != nil {
		return nil, errors.Join(err, r.Close(), w.Close())
	}
	cctx, stop := context.WithCancel(ctx)
	cmd := shell(cctx, line)
	cmd.Stdout, cmd.Stderr = w, env.stderr
	cmd.WaitDelay = commandPatience
	cmd.Cancel = func() error { return endProcess(cmd.Process) }
	if term.IsTerminal(int(env.stdin.Fd())) {
		cmd.Stdin = env.stdin // ssh may ask there
	}
	return &commandStream{ctx: ctx, stop: stop, cmd: cmd, line: line, out: out, pipe: [2]*os.File{r, w}}, nil
}

func (c *commandStream) start() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return os.ErrClosed
	case c.started:
		return nil
	}
	if err := c.cmd.Start(); err != nil {
		return fmt.Errorf("run the command %q: %w", c.line, err)
	}
	c.started = true
	return c.pipe[1].Close() // ours: the end comes when the last of theirs is closed
}

// Read returns what the command prints, and how it failed in the place of the end.
func (c *commandStream) Read(p []byte) (int, error) {
	if err := c.start(); err != nil {
		return 0, err
	}
	n, err := c.out.Read(p)
	if err == io.EOF {
		if failed := c.wait(); failed != nil {
			err = failed
		}
	}
	return n, err
}

// wait waits for the command to end.
func (c *commandStream) wait() error {
	c.ended.Do(func() {
		err := c.cmd.Wait()
		if err != nil { // Ctrl-C goes to both of us, and may end the command first
			select {
			case <-c.ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
		}
		switch {
		case c.ctx.Err() != nil:
			c.err = context.Cause(c.ctx)
		case errors.Is(err, exec.ErrWaitDelay): // it left something running, which printed all it had
		case err != nil:
			c.err = fmt.Errorf("the command %q failed: %w; no version is kept", c.line, err)
		}
	})
	return c.err
}

// Close ends the command.
func (c *commandStream) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil
	}
	c.closed = true
	c.stop()
	err := errors.Join(c.out.Close(), c.pipe[0].Close())
	if !c.started {
		return errors.Join(err, c.pipe[1].Close())
	}
	_ = c.wait()
	return err
}
