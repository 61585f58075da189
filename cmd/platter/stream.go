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

// A stream is a disk that arrives once, from its first byte to its last. Its end may be the end of the disk or of a broken
// connection. So an empty stream is an error, and so is one of another size than --size.
type stream struct {
	io.ReadCloser
	want int64 // bytes; 0 for any number
	got  int64

	head []byte        // read ahead
	last error         // the error after the head
	said *anatomy.Disk // the anatomy by the head
}

// headLen is how much of a stream is read ahead, in bytes: enough for its partition table and the ID of the first file system.
const headLen = 1 << 20

// look reads the anatomy of the disk from the beginning of the stream.
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

// least is the smallest size of the disk by its partition table: the end of its last partition.
func (s *stream) least() (end int64) {
	for _, p := range s.look().Partitions {
		if p.Len <= math.MaxInt64-p.Off {
			end = max(end, p.Off+p.Len)
		}
	}
	return end
}

// Read reads on. The error is io.EOF only at the end of a valid stream.
func (s *stream) Read(p []byte) (n int, err error) {
	if n = copy(p, s.head); n > 0 {
		s.head = s.head[n:]
	} else if err = s.last; err == nil {
		n, err = s.ReadCloser.Read(p)
	}
	s.got += int64(n)
	switch {
	case s.want > 0 && s.got > s.want:
		return n, fmt.Errorf("the stream has more bytes than the %d of --size; nothing was stored", s.want)
	case err != io.EOF:
		return n, err
	case s.got == 0:
		return 0, errors.New("the stream is empty: the program that writes it has probably failed; nothing was stored")
	case s.want > 0 && s.got < s.want:
		return n, fmt.Errorf("the stream ended after %d bytes, and --size says %d; nothing was stored", s.got, s.want)
	}
	return n, io.EOF
}

// A beginning is the start of a disk of unknown size. The rest has not arrived, and reads as zeros.
type beginning []byte

// Size is more than any disk has, so that every partition ends before it.
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

// A commandStream is the output of a command. It ends with an error if the command fails, even after its last byte: the output may
// be incomplete.
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
	err     error // of the command
}

// commandPatience is how long a command may run after it was asked to end: less than platter's own grace.
const commandPatience = 500 * time.Millisecond

// newCommandStream returns the output of a command line. The first Read starts it. Its standard error goes to ours.
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
	return c.pipe[1].Close() // or the pipe would never end
}

// Read returns the output of the command, and at its end the error of the command instead of io.EOF.
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
		if err != nil { // Ctrl-C reaches the command too, and may end it first
			select {
			case <-c.ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
		}
		switch {
		case c.ctx.Err() != nil:
			c.err = context.Cause(c.ctx)
		case errors.Is(err, exec.ErrWaitDelay): // it left a process running; the output is complete
		case err != nil:
			c.err = fmt.Errorf("the command %q failed: %w; nothing was stored", c.line, err)
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
