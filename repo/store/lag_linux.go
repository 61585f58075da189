package store

import "golang.org/x/sys/unix"

// localKinds are file systems that nobody but this machine's kernel changes. All others count as remote, FUSE too: it may be
// sshfs.
var localKinds = map[int64]bool{
	unix.EXT4_SUPER_MAGIC: true, unix.XFS_SUPER_MAGIC: true, unix.BTRFS_SUPER_MAGIC: true, unix.F2FS_SUPER_MAGIC: true,
	unix.TMPFS_MAGIC: true, unix.RAMFS_MAGIC: true, unix.OVERLAYFS_SUPER_MAGIC: true, unix.MSDOS_SUPER_MAGIC: true,
	unix.EXFAT_SUPER_MAGIC: true, unix.NILFS_SUPER_MAGIC: true, unix.REISERFS_SUPER_MAGIC: true,
	0x2fc12fc1: true, // ZFS
	0x7366746e: true, // NTFS3
	0x3153464a: true, // JFS
	0xca451a4e: true, // bcachefs
}

func isRemote(root string) bool {
	var s unix.Statfs_t
	return unix.Statfs(root, &s) == nil && !localKinds[int64(s.Type)&0xffffffff]
}
