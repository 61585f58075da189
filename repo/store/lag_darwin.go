package store

import (
	"strings"

	"golang.org/x/sys/unix"
)

func lagOf(root string) Lag {
	var s unix.Statfs_t
	if unix.Statfs(root, &s) != nil || s.Flags&unix.MNT_LOCAL != 0 {
		return Lag{}
	}
	if kind := unix.ByteSliceToString(s.Fstypename[:]); strings.Contains(kind, "fuse") {
		return Lag{Unknown: kind}
	}
	return Lag{Time: remoteLag}
}
