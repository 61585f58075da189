//go:build unix

package store

import (
	"errors"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

func isFull(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT)
}

// cannotLink reports whether an error says that the file system has no hard links, or not these. EXDEV is what unions of
// several disks say.
func cannotLink(err error) bool {
	for _, no := range []error{unix.EPERM, unix.EACCES, unix.ENOTSUP, unix.EOPNOTSUPP, unix.ENOSYS, unix.EMLINK, unix.EXDEV, unix.EINVAL} {
		var link *os.LinkError
		if errors.As(err, &link) && errors.Is(link.Err, no) {
			return true
		}
	}
	return errors.Is(err, errors.ErrUnsupported)
}

// openNoFollow does itself what Root.OpenFile does not: it refuses a link that stays below the root. O_NONBLOCK, because
// opening a pipe would wait for its writer.
func openNoFollow(root *os.Root, name string, mode int) (*os.File, error) {
	folder, err := root.Open(path.Dir(name))
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	for {
		fd, err := unix.Openat(int(folder.Fd()), path.Base(name), mode|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err == nil {
			return os.NewFile(uintptr(fd), name), nil
		}
		if !errors.Is(err, unix.EINTR) {
			return nil, &os.PathError{Op: "open", Path: name, Err: err}
		}
	}
}

// syncOpenFolder makes the entries of a folder durable. CIFS and some FUSE file systems do not know fsync of a folder:
// there the server decides, and refusing to work would help nobody.
func syncOpenFolder(f *os.File) error {
	err := f.Sync()
	for _, unknown := range []error{unix.EINVAL, unix.ENOTSUP, unix.EOPNOTSUPP, unix.ENOSYS, unix.ENOTTY, unix.EPERM} {
		if errors.Is(err, unknown) {
			return nil
		}
	}
	return err
}
