//go:build unix

package main

import (
	"os"
	"syscall"
)

// fatalSignals kill the process when they come a second time.
func fatalSignals() []os.Signal {
	return []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGQUIT, syscall.SIGXCPU}
}

// failedWriteSignals accompany the error of a write: to a pipe without a reader (EPIPE), and beyond the largest allowed file
// (EFBIG).
func failedWriteSignals() []os.Signal { return []os.Signal{syscall.SIGPIPE, syscall.SIGXFSZ} }
