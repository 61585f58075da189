package restore

import (
	"errors"
	"os"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// ownLocks are file systems that belong to this machine alone, so every process that could look sees a lock. On a
// network file system a lock may be visible on this machine only, or prevent its holder from reading the file.
var ownLocks = [...]uint32{
	unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.TMPFS_MAGIC, unix.F2FS_SUPER_MAGIC,
	// The last one is ZFS.
	unix.OVERLAYFS_SUPER_MAGIC, unix.BCACHEFS_SUPER_MAGIC, unix.MSDOS_SUPER_MAGIC, unix.EXFAT_SUPER_MAGIC, 0x2fc12fc1,
}

// lock locks a file until it is closed. It returns errors.ErrUnsupported if a lock would mean nothing.
func lock(f *os.File) error {
	var stat unix.Statfs_t
	if err := again(func() error { return unix.Fstatfs(int(f.Fd()), &stat) }); err != nil {
		return errors.ErrUnsupported
	}
	if !slices.Contains(ownLocks[:], uint32(stat.Type)) {
		return errors.ErrUnsupported
	}
	return again(func() error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) })
}

// hold opens a new file a second time and locks it, to show that it is not abandoned.
func hold(folder *os.Root, name string) (f *os.File, locked bool, err error) {
	err = again(func() (err error) {
		f, err = folder.Open(name)
		return err
	})
	if errors.Is(err, os.ErrNotExist) {
		return nil, false, errSweptAway
	}
	if err != nil {
		return nil, false, nil // the mode forbids it: no lock
	}
	err = lock(f)
	info, lost := f.Stat()
	if lost == nil && info.Sys().(*syscall.Stat_t).Nlink == 0 || errors.Is(err, unix.EWOULDBLOCK) {
		return nil, false, errors.Join(errSweptAway, f.Close())
	}
	return f, err == nil, nil
}

// removeAbandoned removes a file under a temporary name if it is certain that no process writes to it.
func removeAbandoned(folder *os.Root, name string) {
	f, err := folder.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return
	}
	defer f.Close()
	if lock(f) == nil {
		_ = folder.Remove(name) // may be another user's
	}
}

// accessList is the attribute in which Linux keeps an access control list. If a file has one, the group bits of its
// mode are the list's mask.
const accessList = "system.posix_acl_access"

// takeLabels gives a file the access control list and the security label of the file at path. It removes a list that
// the file inherited from its folder. It returns false if the mode alone would admit users whom the list did not.
func takeLabels(f *os.File, path string, lists bool) bool {
	if label, ok := attribute(path, "security.selinux"); ok {
		_ = again(func() error { return unix.Fsetxattr(int(f.Fd()), "security.selinux", label, 0) })
	}
	list, listed := attribute(path, accessList)
	if listed && lists && again(func() error { return unix.Fsetxattr(int(f.Fd()), accessList, list, 0) }) == nil {
		return true
	}
	err := again(func() error { return unix.Fremovexattr(int(f.Fd()), accessList) })
	return !listed && (err == nil || errors.Is(err, unix.ENODATA) || errors.Is(err, unix.ENOTSUP))
}

func attribute(path, name string) ([]byte, bool) {
	value := make([]byte, 64<<10) // the maximum length of an attribute
	n := 0
	err := again(func() (err error) {
		n, err = unix.Lgetxattr(path, name, value)
		return err
	})
	return value[:max(n, 0)], err == nil && n > 0
}
