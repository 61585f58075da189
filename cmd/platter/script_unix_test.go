//go:build unix

package main

import (
	"syscall"

	"github.com/rogpeppe/go-internal/testscript"
)

// allocated returns how many bytes a file takes on the disk.
func allocated(ts *testscript.TestScript, path string) int64 {
	var st syscall.Stat_t
	ts.Check(syscall.Stat(path, &st))
	return st.Blocks * 512 // whatever the file system's own blocks are
}
