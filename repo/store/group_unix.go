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

// Files of a repository are their owner's alone, unless the folder that they are made in is a group's: with the set-group-ID
// bit, and writable for the group. Then the group may read and write them, and folders below are the group's, too. The
// process's umask decides nothing: the owner of the shared folder has decided already.
const (
	ownFile     fs.FileMode = 0o600
	ownFolder   fs.FileMode = 0o700
	groupFile   fs.FileMode = 0o660
	groupFolder fs.FileMode = 0o770 | fs.ModeSetgid
)

// isGroups reports whether a folder is shared by a group.
func isGroups(folder fs.FileInfo) bool {
	return folder.Mode()&fs.ModeSetgid != 0 && folder.Mode().Perm()&0o020 != 0
}

// inGroup reports whether what is made under a name belongs to a group. A folder that cannot be looked at is an error of
// whatever comes next.
func inGroup(root *os.Root, name string) bool {
	folder, err := statRoot(root, path.Dir(name))
	return err == nil && isGroups(folder)
}

// statRoot is Root.Stat, which does not try again after an interruption.
func statRoot(root *os.Root, name string) (info fs.FileInfo, err error) {
	for range maxInterrupts {
		if info, err = root.Stat(name); passingHere(err) != interrupted {
			break
		}
	}
	return info, err
}

// createShared makes a file that is not there yet.
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

// mkdirShared makes a folder that is not there yet.
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

// openTo gives a new file or folder the mode that the umask has kept from it. File systems that have no modes (SMB, FAT, some
// FUSE) refuse that, and decide by themselves who may do what.
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
