package fuse

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// callerPoll is how often an interrupted request looks whether its program is about to die.
const callerPoll = 50 * time.Millisecond

// call returns the context of a request. It ends when the program that made the request is about to die, or when the
// server is closed. The caller calls done before the request is answered.
//
// FUSE interrupts a request for any signal, also for one that the program handles. A read of a file must not fail for
// that: few programs expect it. Nor does FUSE say it again when a signal that kills follows the one that did not.
func (t *tree) call(request context.Context) (ctx context.Context, done func()) {
	ctx, cancel := context.WithCancel(t.ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case <-request.Done():
			t.awaitDeath(ctx, request)
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		cancel()
		<-watched
	}
}

// awaitDeath returns when ctx ends, the connection is cut, or the program that made a request is not known or about to
// die.
func (t *tree) awaitDeath(ctx, request context.Context) {
	caller, ok := fuse.FromContext(request)
	if !ok {
		return
	}
	poll := time.NewTicker(callerPoll)
	defer poll.Stop()
	for !t.cut() && !dying(caller.Pid) {
		select {
		case <-poll.C:
		case <-ctx.Done():
			return
		}
	}
}

// cut reports whether the connection to the kernel has ended: the folder is unmounted and not in use. It may be called
// during a request only, since the file descriptor is go-fuse's.
func (t *tree) cut() bool {
	fds := []unix.PollFd{{Fd: int32(t.fd)}}
	n, err := unix.Poll(fds, 0)
	return n > 0 && err == nil && fds[0].Revents&unix.POLLERR != 0
}

// dying reports whether a thread has ended, has received a signal that will end it, or cannot be asked.
func dying(thread uint32) bool {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", thread))
	return err != nil || deadly(status)
}

// harmless are the signals that stop, continue or do nothing unless a program handles them.
const harmless = 1<<(unix.SIGCHLD-1) | 1<<(unix.SIGCONT-1) | 1<<(unix.SIGURG-1) | 1<<(unix.SIGWINCH-1) |
	1<<(unix.SIGSTOP-1) | 1<<(unix.SIGTSTP-1) | 1<<(unix.SIGTTIN-1) | 1<<(unix.SIGTTOU-1)

// deadly reports whether a status file of /proc shows a thread that is dead, or is about to be by a signal that it
// neither handles nor blocks. An unknown status is deadly too.
func deadly(status []byte) bool {
	var pending, kept uint64
	found := 0
	for line := range bytes.Lines(status) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimSpace(value)
		switch string(name) {
		case "State":
			if len(value) == 0 || value[0] == 'Z' || value[0] == 'X' {
				return true
			}
		case "SigPnd", "ShdPnd", "SigBlk", "SigIgn", "SigCgt":
			set, err := strconv.ParseUint(string(value), 16, 64)
			if err != nil {
				return true
			}
			found++
			if bytes.HasSuffix(name, []byte("Pnd")) {
				pending |= set
			} else {
				kept |= set
			}
		}
	}
	return found != 5 || pending&^kept&^harmless != 0
}
