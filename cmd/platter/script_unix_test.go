//go:build unix

package main

import (
	"os"
	"syscall"

	"github.com/rogpeppe/go-internal/testscript"
)

// allocated returns how many bytes a file takes on the disk.
func allocated(ts *testscript.TestScript, path string) int64 {
	var st syscall.Stat_t
	ts.Check(syscall.Stat(path, &st))
	return st.Blocks * 512 // whatever the file system's own blocks are
}

// peakMemory returns the most memory that a process took at once: in bytes on Linux, elsewhere in units of its own.
func peakMemory(state *os.ProcessState) int64 {
	usage, ok := state.SysUsage().(*syscall.Rusage)
	if !ok {
		return -1
	}
	return int64(usage.Maxrss) * 1024
}
