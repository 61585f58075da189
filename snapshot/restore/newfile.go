package restore

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"unicode/utf8"
)

// ReplaceFile creates or replaces the file at path with what fill writes to f. The file gets its name only when all of
// it is durable. On failure nothing remains of it, and an existing file is unchanged.
//
// ReplaceFile follows a link once, at the start: it replaces the file that the link points to, and the link stays. A
// new file gets the mode that the umask leaves. A file that replaces another gets its owner, group, mode and access
// control list. If the system refuses one of these, the file gets less access, never more. Users who could not read the
// old file cannot read the new one.
//
// A user's file may be a link, be shared with others, or be in use. Files of platter's own on this machine need none of that,
// and index.ReplaceFile replaces them.
func ReplaceFile(path string, u *Unfinished, fill func(f *os.File) error) error {
	return intoNew(path, overwriting{true, true}, u, func(f *os.File) error {
		err := fill(f)
		if err == nil {
			err = f.Sync()
		}
		return errors.Join(err, closing(f))
	})
}

// overwriting says what a new file may replace.
type overwriting struct {
	replace bool // an existing file
	inUse   bool // even one that programs have open or locked
}

// check returns an error unless path may become our file.
func (o overwriting) check(path string) error {
	if err := checkTarget(path, o.replace); err != nil || !o.replace {
		return err
	}
	return refuseReplacing(path, o.inUse)
}

// intoNew is ReplaceFile, limited by over: otherwise an existing file is an error. fill must sync and close f.
func intoNew(path string, over overwriting, u *Unfinished, fill func(f *os.File) error) error {
	if err := over.check(path); err != nil {
		return err
	}
	path, err := behindLinks(path)
	if err != nil {
		return err
	}
	n, f, err := createNew(path)
	if err != nil {
		return err
	}
	if u.add(n) {
		defer u.done(n)
		err = fill(f)
	} else {
		err = errors.Join(errors.New("the program is ending"), f.Close())
	}
	if err == nil {
		err = over.check(path) // meanwhile another process may have created the file or opened it
	}
	if err == nil {
		err = n.finish()
	}
	if err != nil {
		return errors.Join(err, n.remove(), n.close())
	}
	return errors.Join(syncDir(filepath.Dir(path)), n.close())
}

// behindLinks returns the file that a path leads to.
func behindLinks(path string) (string, error) {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return path, nil
	}
	if err != nil || info.Mode()&fs.ModeSymlink == 0 {
		return path, err
	}
	return filepath.EvalSymlinks(path)
}

// A newFile is a file under a temporary name in its final folder. It is reached through the open folder: the folder may
// be moved meanwhile, and a temporary name never makes a path too long.
type newFile struct {
	folder     *os.Root
	name, temp string
	was        fs.FileInfo // the file that it replaces; nil for none
	own        fs.FileInfo // the new file
	held       *os.File    // a second descriptor, open until close; nil if the system cannot rename open files
	locked     bool        // by held
}

// createNew creates a temporary file for path, and removes those that killed processes left.
func createNew(path string) (*newFile, *os.File, error) {
	folder, err := os.OpenRoot(filepath.Dir(path))
	if err != nil {
		return nil, nil, err
	}
	n := &newFile{folder: folder, name: filepath.Base(path)}
	var f *os.File
	if n.was, err = n.look(n.name); err == nil || errors.Is(err, fs.ErrNotExist) {
		n.sweep()
		f, err = n.create()
	}
	if err != nil {
		return nil, nil, errors.Join(err, n.close())
	}
	return n, f, nil
}

// create creates the file. A file that replaces another is accessible to its owner only until it is complete. The
// system decides the mode of any other, by the umask and the folder's own rules.
func (n *newFile) create() (*os.File, error) {
	mode := fs.FileMode(0o666)
	if n.was != nil {
		mode = 0o600
	}
	for {
		var random [tempRandom / 2]byte
		rand.Read(random[:]) // never fails: it ends the process first
		n.temp = tempStem(n.name) + hex.EncodeToString(random[:])
		var f *os.File
		err := again(func() (err error) {
			f, err = n.folder.OpenFile(n.temp, os.O_RDWR|os.O_CREATE|os.O_EXCL, mode)
			return err
		})
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if n.own, err = f.Stat(); err == nil {
			n.held, n.locked, err = hold(n.folder, n.temp)
		}
		if err == nil {
			return f, nil
		}
		err = errors.Join(err, f.Close())
		if !errors.Is(err, errSweptAway) {
			return nil, errors.Join(err, n.remove())
		}
	}
}

// errSweptAway says that another process took our new file for one that a killed process left.
var errSweptAway = errors.New("another process is removing it")

// finish gives the file its final name.
func (n *newFile) finish() error {
	if was, err := n.look(n.name); err == nil {
		n.was = was // may be another file by now
	}
	if n.was != nil && n.held != nil {
		takeAfter(n.held, filepath.Join(n.folder.Name(), n.name), n.was)
	}
	if n.held != nil && !n.locked { // no longer needed, and a server may refuse to rename an open file
		if err := closing(n.held); err != nil {
			return err
		}
		n.held = nil
	}
	interrupted := false
	return again(func() error {
		err := n.folder.Rename(n.temp, n.name)
		if interrupted && errors.Is(err, fs.ErrNotExist) && n.isNamed() {
			return nil
		}
		interrupted = errors.Is(err, syscall.EINTR)
		return err
	})
}

// isNamed reports whether the file has its final name: an interrupted rename may have succeeded.
func (n *newFile) isNamed() bool {
	is, err := n.look(n.name)
	return err == nil && os.SameFile(is, n.own)
}

func (n *newFile) look(name string) (info fs.FileInfo, err error) {
	err = again(func() error {
		info, err = n.folder.Lstat(name)
		return err
	})
	return info, err
}

// remove removes the file under its temporary name. A missing file is no error.
func (n *newFile) remove() error {
	if err := again(func() error { return n.folder.Remove(n.temp) }); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (n *newFile) close() error {
	if n.held != nil {
		return errors.Join(closing(n.held), closing(n.folder))
	}
	return closing(n.folder)
}

const (
	tempMark   = ".partial-"
	tempRandom = 8  // hex digits after the mark
	tempShort  = 40 // length of a name, in bytes, that every file system accepts
)

// tempStem returns the start of the temporary names for a name, up to their digits. A temporary name is no longer than
// the name itself, or than tempShort. File systems differ in their limits, and this one accepted the name.
func tempStem(name string) string {
	room := max(len(name), tempShort) - len(".") - len(tempMark) - tempRandom
	for len(name) > room {
		_, n := utf8.DecodeLastRuneInString(name)
		name = name[:len(name)-n]
	}
	return "." + name + tempMark
}

// sweep removes what killed processes left of the same file, which may be as large as a disk. It removes nothing if it
// cannot tell that the process is dead.
func (n *newFile) sweep() {
	entries, err := fs.ReadDir(n.folder.FS(), ".")
	if err != nil {
		return
	}
	stem := tempStem(n.name)
	for _, e := range entries {
		name := e.Name()
		if len(name) != len(stem)+tempRandom || name[:len(stem)] != stem || !e.Type().IsRegular() {
			continue
		}
		if _, err := hex.DecodeString(name[len(stem):]); err == nil {
			removeAbandoned(n.folder, name)
		}
	}
}
