//go:build !unix

package main

import (
	"os"
	"syscall"
)

// fatalSignals are those of which a second one kills. Windows sends SIGTERM when a console is closed, a user logs off, or
// the machine shuts down.
func fatalSignals() []os.Signal { return []os.Signal{os.Interrupt, syscall.SIGTERM} }

// failedWriteSignals are none here. SIGPIPE is never sent, but signal.Notify takes an empty list for all signals.
func failedWriteSignals() []os.Signal { return []os.Signal{syscall.SIGPIPE} }
