package store

import "golang.org/x/sys/unix"

func isRemote(root string) bool {
	var s unix.Statfs_t
	return unix.Statfs(root, &s) == nil && s.Flags&unix.MNT_LOCAL == 0
}
