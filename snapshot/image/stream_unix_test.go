//go:build unix

package image

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"platter/snapshot/image/oracle"
)

// waitingInputs are inputs whose writer stays silent.
var waitingInputs = map[string]func(t *testing.T) *os.File{
	"pipe": func(t *testing.T) *os.File {
		r, _ := mustPipe(t)
		return r
	},
	"blocking pipe": func(t *testing.T) *os.File { // as a shell passes it
		r, _ := mustPipe(t)
		r.Fd()
		return r
	},
	"fifo": func(t *testing.T) *os.File { return mustFIFO(t, os.O_RDWR) },
	"socket": func(t *testing.T) *os.File {
		ours, _ := mustSocketpair(t)
		return ours
	},
}

func mustFIFO(t *testing.T, flag int) *os.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, flag, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func mustSocketpair(t *testing.T) (ours, theirs *os.File) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs = os.NewFile(uintptr(fds[0]), "ours"), os.NewFile(uintptr(fds[1]), "theirs")
	t.Cleanup(func() { _, _ = ours.Close(), theirs.Close() })
	return ours, theirs
}

// inRead starts a Read of a silent input. Read checks ctx only after its wait. So only the alarm can end the Read,
// whether or not it already waits when inRead returns.
func inRead(s *Stream) <-chan error {
	started, done := make(chan struct{}), make(chan error, 1)
	go func() {
		close(started)
		_, err := s.Read(make([]byte, 10))
		done <- err
	}()
	<-started
	return done
}

func TestStreamEndsWaiting(t *testing.T) {
	for name, open := range waitingInputs {
		t.Run(name, func(t *testing.T) {
			for range 50 {
				ctx, cancel := context.WithCancel(t.Context())
				done := inRead(mustStream(t, ctx, open(t)))
				cancel()
				if err := <-done; !errors.Is(err, context.Canceled) {
					t.Fatalf("cancelled Read: %v", err)
				}
				s := mustStream(t, t.Context(), open(t))
				done = inRead(s)
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				if err := <-done; !errors.Is(err, os.ErrClosed) {
					t.Fatalf("closed Read: %v", err)
				}
			}
		})
	}
}

// Under sshd, standard input and output may be one socket: a non-blocking input would make writes to the output fail.
func TestStreamLeavesInputAsItWas(t *testing.T) {
	ours, theirs := mustSocketpair(t)
	s := mustStream(t, t.Context(), ours)
	if _, err := theirs.WriteString("x"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	flags, err := unix.FcntlInt(ours.Fd(), unix.F_GETFL, 0)
	if err != nil || flags&unix.O_NONBLOCK != 0 {
		t.Errorf("flags %#x, %v: the socket does not block any more", flags, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := ours.WriteString("y"); err != nil {
		t.Errorf("the input was closed with the stream: %v", err)
	}
}

func TestStreamOfTerminal(t *testing.T) {
	f, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		oracle.Lacking(t, "no terminal to be had: %v", err)
	}
	defer f.Close()
	if _, err := OpenStream(t.Context(), f); err == nil || !strings.Contains(err.Error(), "is a terminal: redirect") {
		t.Errorf("got %v", err)
	}
}
