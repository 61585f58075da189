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

// ReplaceFile makes a file of what fill writes to f. The file has its name once all of it is durable. Where it fails nothing
// is left of it, and a file that was there is as it was.
//
// A link is followed once, at the beginning: the file it leads to is replaced, and the link stays. A new file has the mode
// that the umask leaves it. One that replaces another has its owner, group, mode and access control list, or less where the
// system does not let platter give them: nobody may read it who could not read the other.
func ReplaceFile(path string, u *Unfinished, fill func(f *os.File) error) error {
	return intoNew(path, overwriting{true, true}, u, func(f *os.File) error {
		err := fill(f)
		if err == nil {
			err = f.Sync()
		}
		return errors.Join(err, closing(f))
	})
}

// overwriting says what a new file may take the place of.
type overwriting struct {
	replace bool // a file that is there
	inUse   bool // even one that programs have open or locked
}

// check returns an error unless a path may become a file of ours.
func (o overwriting) check(path string) error {
	if err := checkTarget(path, o.replace); err != nil || !o.replace {
		return err
	}
	return refuseReplacing(path, o.inUse)
}

// intoNew is ReplaceFile where over allows it. Else a file that is there is an error. Here fill syncs and closes f.
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
		err = over.check(path) // somebody may have put one there meanwhile, or use the one that is there
	}
	if err == nil {
		err = n.finish()
	}
	if err != nil {
		return errors.Join(err, n.remove(), n.close())
	}
	return errors.Join(syncDir(filepath.Dir(path)), n.close())
}

// behindLinks is the file that a path leads to.
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

// A newFile is a file that is being written under a temporary name in the folder in which it will have its own. It is
// reached through the open folder: the folder may be moved meanwhile, and a temporary name never makes a path too long.
type newFile struct {
	folder     *os.Root
	name, temp string
	was        fs.FileInfo // the file that it replaces; nil for none
	own        fs.FileInfo // the new file
	held       *os.File    // it is open once more for as long as this lasts; nil where the system renames no open files
	locked     bool        // by held
}

// createNew makes a file for path, and removes what a killed process left of one before.
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

// create makes the file. One that replaces another is for its owner alone until it is whole; of a new one the system
// decides, by umask and by the folder's own rules.
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

// errSweptAway says that another process took a file that was just made for one that a killed process left.
var errSweptAway = errors.New("another process is removing it")

// finish gives the file its name.
func (n *newFile) finish() error {
	if was, err := n.look(n.name); err == nil {
		n.was = was // which may be another by now
	}
	if n.was != nil && n.held != nil {
		takeAfter(n.held, filepath.Join(n.folder.Name(), n.name), n.was)
	}
	if n.held != nil && !n.locked { // of no more use, and a server may mind
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

// isNamed reports whether the file has its name: a rename that was interrupted may have been done.
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

// remove removes the file under its temporary name; that it is gone already is no error.
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
	tempRandom = 8  // hex digits behind it
	tempShort  = 40 // bytes that every file system has room for in a name
)

// tempStem is how temporary names begin that are made of a name, up to their digits. Such a name is never longer than the
// name itself, unless both are short: file systems differ in what they take, and this one took the name.
func tempStem(name string) string {
	room := max(len(name), tempShort) - len(".") - len(tempMark) - tempRandom
	for len(name) > room {
		_, n := utf8.DecodeLastRuneInString(name)
		name = name[:len(name)-n]
	}
	return "." + name + tempMark
}

// sweep removes what killed processes left of the same file, which may take a disk's room. Where it cannot be known that a process is
// gone, nothing is removed.
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
