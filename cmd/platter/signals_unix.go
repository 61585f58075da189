//go:build unix

package main

import (
	"os"
	"syscall"
)

// fatalSignals are those of which a second one kills.
func fatalSignals() []os.Signal {
	return []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGQUIT, syscall.SIGXCPU}
}

// failedWriteSignals are those that come with the error of a write: to a pipe that nobody reads (EPIPE), and beyond the
// largest file that the process may make (EFBIG).
func failedWriteSignals() []os.Signal { return []os.Signal{syscall.SIGPIPE, syscall.SIGXFSZ} }
