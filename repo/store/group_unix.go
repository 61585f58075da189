//go:build unix

package store

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// By default only the owner can access the files of a repository. A folder with the set-group-ID bit that is writable
// for its group is shared. In it, new files are readable and writable for the group, and new folders belong to the
// group too. The process's umask is ignored: the owner of the shared folder has already decided.
const (
	ownFile     fs.FileMode = 0o600
	ownFolder   fs.FileMode = 0o700
	groupFile   fs.FileMode = 0o660
	groupFolder fs.FileMode = 0o770 | fs.ModeSetgid
)

// isGroups reports whether a folder is shared with a group.
func isGroups(folder fs.FileInfo) bool {
	return folder.Mode()&fs.ModeSetgid != 0 && folder.Mode().Perm()&0o020 != 0
}

// inGroup reports whether a new file or folder with this name belongs to a group. It ignores an error on the parent
// folder, which the next call meets too.
func inGroup(root *os.Root, name string) bool {
	folder, err := statRoot(root, path.Dir(name))
	return err == nil && isGroups(folder)
}

// statRoot is Root.Stat with retries, which Root.Stat does not do after an interruption.
func statRoot(root *os.Root, name string) (info fs.FileInfo, err error) {
	for range maxInterrupts {
		if info, err = root.Stat(name); transienceHere(err) != interrupted {
			break
		}
	}
	return info, err
}

// createShared creates a file. An existing file is an error.
func createShared(root *os.Root, name string) (*os.File, error) {
	mode := ownFile
	if inGroup(root, name) {
		mode = groupFile
	}
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil || mode == ownFile {
		return f, err
	}
	if err := openTo(f, mode); err != nil {
		return nil, errors.Join(err, f.Close(), root.Remove(name))
	}
	return f, nil
}

// mkdirShared creates a folder. An existing folder is an error.
func mkdirShared(root *os.Root, dir string) error {
	if !inGroup(root, dir) {
		return root.Mkdir(dir, ownFolder)
	}
	if err := root.Mkdir(dir, groupFolder.Perm()); err != nil {
		return err
	}
	f, err := root.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(openTo(f, groupFolder), f.Close())
}

// makeShared is mkdirShared for the root itself and the folders above it.
func makeShared(dir string) error {
	above, err := os.Stat(filepath.Dir(filepath.Clean(dir)))
	if err != nil || !isGroups(above) {
		return makeDir(dir, ownFolder)
	}
	if err := makeDir(dir, groupFolder.Perm()); err != nil {
		return err
	}
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(openTo(f, groupFolder), f.Close())
}

// openTo gives a new file or folder the mode bits that the umask removed. It ignores the error of file systems without
// modes (SMB, FAT, some FUSE), which control access themselves.
func openTo(f *os.File, mode fs.FileMode) error {
	const bits = fs.ModePerm | fs.ModeSetgid
	info, err := f.Stat()
	if err != nil || info.Mode()&bits == mode&bits {
		return err
	}
	err = f.Chmod(mode)
	for _, refused := range []error{unix.EPERM, unix.EACCES, unix.ENOTSUP, unix.EOPNOTSUPP, unix.ENOSYS, unix.EINVAL, unix.EROFS} {
		if errors.Is(err, refused) {
			return nil
		}
	}
	return err
}
