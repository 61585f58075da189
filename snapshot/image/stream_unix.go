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
// It polls rather than making the input non-blocking: that flag belongs to the open file, not to the descriptor, so it
// would also affect every other process that holds it: standard output when both are one socket (as under sshd and inetd), where
// os.Stdout then fails with EAGAIN, or the next command of a shell script when platter is killed. And on Linux
// a FIFO that is polled has no end before its first writer came, while a non-blocking read takes that for the end.
type waiter struct {
	input   syscall.RawConn
	alarm   syscall.RawConn // of alarmed
	alarmed *os.File        // at its end once the alarm was raised
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

// wait returns when a read would not wait, or when the alarm was raised. What cannot be polled or was closed returns at
// once: the read that follows reports it.
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

// close raises the alarm and returns once no wait is under way.
func (w *waiter) close() error {
	w.disarm()
	err := w.raise.Close()
	if errors.Is(err, os.ErrClosed) { // ctx was done first
		err = nil
	}
	return errors.Join(err, w.alarmed.Close())
}
