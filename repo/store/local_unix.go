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

// cannotLink reports whether an error says that the file system has no hard links, or not this one. Unions of several
// disks return EXDEV, and rclone's mount EIO. If EIO is a real fault, creating the file meets it too.
func cannotLink(err error) bool {
	for _, no := range []error{unix.EPERM, unix.EACCES, unix.ENOTSUP, unix.EOPNOTSUPP, unix.ENOSYS, unix.EMLINK, unix.EXDEV, unix.EINVAL, unix.EIO} {
		var link *os.LinkError
		if errors.As(err, &link) && errors.Is(link.Err, no) {
			return true
		}
	}
	return errors.Is(err, errors.ErrUnsupported)
}

// openNoFollow opens a file, and refuses even a link that stays below the root, which Root.OpenFile follows. It uses
// O_NONBLOCK because opening a pipe would wait for its writer.
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

// syncOpenFolder makes the entries of a folder durable.
func syncOpenFolder(f *os.File) error {
	err := f.Sync()
	if errors.Is(err, unix.EPERM) { // some file systems return it for folders only
		return &os.PathError{Op: "sync", Path: f.Name(), Err: unix.ENOTSUP}
	}
	return err
}

// noSuchSync reports whether an error says that the file system has no sync. CIFS and some FUSE file systems return it,
// mostly for folders.
func noSuchSync(err error) bool {
	for _, unknown := range []error{unix.EINVAL, unix.ENOTSUP, unix.EOPNOTSUPP, unix.ENOSYS, unix.ENOTTY} {
		if errors.Is(err, unknown) {
			return true
		}
	}
	return false
}

// transienceHere recognizes interruptions by a signal.
func transienceHere(err error) transience {
	if errors.Is(err, unix.EINTR) {
		return interrupted
	}
	return stays
}

// makeDir is os.Mkdir with a correct result: after an interruption, os.Mkdir reports that the folder exists although
// the call itself created it.
func makeDir(dir string, mode os.FileMode) error {
	for again := false; ; again = true {
		switch err := unix.Mkdir(dir, uint32(mode.Perm())); {
		case err == nil, again && errors.Is(err, unix.EEXIST):
			return nil
		case !errors.Is(err, unix.EINTR):
			return &os.PathError{Op: "mkdir", Path: dir, Err: err}
		}
	}
}

// rename is Root.Rename.
func rename(root *os.Root, from, to string) error { return root.Rename(from, to) }
