//go:build unix

package restore

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// syncDir makes a rename in dir durable. It ignores the error of network file systems that cannot sync directories.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if lacksSync(err) {
		err = nil
	}
	return errors.Join(err, closing(d))
}

// takeAfter copies the owner, group, mode, access control list and security label of the file at path to f. It skips
// what the system refuses, and never widens access: if the group differs, the group gets only what everybody had. After
// a power cut before the directory is synced, the file may be accessible to its owner only.
func takeAfter(f *os.File, path string, other fs.FileInfo) {
	st, ok := other.Sys().(*syscall.Stat_t)
	if !ok || !other.Mode().IsRegular() {
		return
	}
	mode := other.Mode().Perm()
	lists := true
	if f.Chown(int(st.Uid), int(st.Gid)) != nil && f.Chown(-1, int(st.Gid)) != nil {
		everybody := mode >> 3 & mode & 0o7
		mode = mode&0o700 | everybody<<3 | everybody
		lists = false // access control lists also depend on the group
	}
	if takeLabels(f, path, lists) {
		_ = f.Chmod(mode) // ignore file systems without modes
	}
}
