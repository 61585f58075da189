//go:build unix

package restore

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// syncDir makes a rename in dir durable. Some network file systems cannot, and say so.
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

// takeAfter gives a file the owner, the group, the mode, the access control list and the security label of the file at path.
// What the system does not let it give it leaves out, and then nobody may do more than before: where the group is another, it
// gets what everybody got. A power cut before the folder is synced may leave the file to its owner alone.
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
		lists = false // they speak of the group, too
	}
	if takeLabels(f, path, lists) {
		_ = f.Chmod(mode) // what has no modes takes none
	}
}
