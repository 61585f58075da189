package index

import (
	"os"

	"golang.org/x/sys/unix"
)

// isLocal reports whether a file is on a file system that this machine's kernel alone serves.
func isLocal(f *os.File) bool {
	var s unix.Statfs_t
	return unix.Fstatfs(int(f.Fd()), &s) == nil && isLocalKind(int64(s.Type)&0xffffffff)
}

// isLocalKind knows file systems by their magic numbers. An unknown one counts as remote: FUSE may be sshfs.
func isLocalKind(kind int64) bool {
	switch kind {
	case unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.F2FS_SUPER_MAGIC, unix.TMPFS_MAGIC, unix.RAMFS_MAGIC,
		unix.OVERLAYFS_SUPER_MAGIC, unix.MSDOS_SUPER_MAGIC, unix.EXFAT_SUPER_MAGIC, unix.NILFS_SUPER_MAGIC, unix.REISERFS_SUPER_MAGIC,
		0x2fc12fc1, // ZFS
		0x7366746e, // NTFS3
		0x3153464a, // JFS
		0xca451a4e: // bcachefs
		return true
	}
	return false
}
