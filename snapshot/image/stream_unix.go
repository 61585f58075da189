//go:build unix

package image

import (
	"context"
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// A waiter waits for input or for an alarm, whichever comes first.
//
// It polls, because making the input non-blocking affects other processes. That flag belongs to the open file, not to
// the descriptor. If standard output is the same socket (as under sshd and inetd), writes to os.Stdout would fail with
// EAGAIN. If platter is killed, the next command of a shell script would inherit the flag. On Linux, polling a FIFO
// also waits for its first writer, while a non-blocking read would take a missing writer for the end.
type waiter struct {
	input   syscall.RawConn
	alarm   syscall.RawConn // of alarmed
	alarmed *os.File        // at its end once the alarm is raised
	raise   *os.File        // closing it raises the alarm
	disarm  func() bool
}

func newWaiter(ctx context.Context, input syscall.RawConn) (*waiter, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	alarm, err := r.SyscallConn()
	if err != nil {
		return nil, errors.Join(err, r.Close(), w.Close())
	}
	disarm := context.AfterFunc(ctx, func() { _ = w.Close() })
	return &waiter{input: input, alarm: alarm, alarmed: r, raise: w, disarm: disarm}, nil
}

// wait returns when a read would not block or the alarm is raised. It returns at once for a file that cannot be polled
// or is closed: the next read reports that.
func (w *waiter) wait() {
	_ = w.input.Control(func(input uintptr) {
		_ = w.alarm.Control(func(alarm uintptr) {
			for {
				_, err := unix.Poll([]unix.PollFd{
					{Fd: int32(input), Events: unix.POLLIN},
					{Fd: int32(alarm), Events: unix.POLLIN},
				}, -1)
				if !errors.Is(err, unix.EINTR) { // the Go runtime interrupts its threads with signals
					return
				}
			}
		})
	})
}

// close raises the alarm, and returns when no wait is running.
func (w *waiter) close() error {
	w.disarm()
	err := w.raise.Close()
	if errors.Is(err, os.ErrClosed) { // ctx was done first
		err = nil
	}
	return errors.Join(err, w.alarmed.Close())
}
