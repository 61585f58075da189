//go:build !unix

package main

import (
	"os"
	"syscall"
)

// fatalSignals kill the process when they come a second time. Windows sends SIGTERM when a console is closed, a user logs off, or
// the machine shuts down.
func fatalSignals() []os.Signal { return []os.Signal{os.Interrupt, syscall.SIGTERM} }

// failedWriteSignals do not exist here. SIGPIPE is never sent, but signal.Notify reads an empty list as all signals.
func failedWriteSignals() []os.Signal { return []os.Signal{syscall.SIGPIPE} }
