//go:build darwin || freebsd

package index

import (
	"os"

	"golang.org/x/sys/unix"
)

// isLocal reports whether a file is on a file system of this machine.
func isLocal(f *os.File) bool {
	var s unix.Statfs_t
	return unix.Fstatfs(int(f.Fd()), &s) == nil && uint64(s.Flags)&unix.MNT_LOCAL != 0
}
