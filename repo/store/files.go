package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
)

// FileSystem is every call by which Local uses a disk. A test replaces it by a disk that fails at a chosen call, or that
// loses what was not synced. Names are the store's, "." is its root.
type FileSystem interface {
	Mkdir(dir string) error // fs.ErrExist when it is there; "." makes the missing folders above the root as well
	Create(name string) (File, error)
	Rename(from, to string) error
	Link(from, to string) error // fs.ErrExist where the new name is taken; see cannotLink
	Touch(name string) error    // Store.Touch
	Remove(name string) error
	SyncFolder(dir string) error

	// Open opens a regular file for reading, never by way of a link, and tells its size in bytes.
	Open(name string) (OpenFile, int64, error)
	// List is Store.List of a good dir, and with temps Local.Leftovers.
	List(ctx context.Context, dir string, temps bool) iter.Seq2[Info, error]
}

// File is what Local writes to. *os.File goes on by itself after EINTR and after a write that took a part.
type File interface {
	io.WriteCloser
	Sync() error
}

// OpenFile is what Local reads from.
type OpenFile interface {
	io.ReaderAt
	io.Closer
}

// osFiles is the real file system. It goes through os.Root, because the owner of a shared folder can turn a
// folder into a link: a Put or a Delete that followed it would change files of this machine. The root is opened anew for
// every call, so that a share that was mounted again is found again.
type osFiles struct {
	root string
	own  Layout // nil where all that is below the root is the store's
}

var _ FileSystem = osFiles{}

func (o osFiles) within(do func(root *os.Root) error) error {
	root, err := os.OpenRoot(o.root)
	if err != nil {
		return err
	}
	defer root.Close()
	return do(root)
}

func (o osFiles) Mkdir(dir string) error {
	if dir == "." {
		return makeRoot(o.root, makeShared, syncPath)
	}
	return o.within(func(root *os.Root) error { return mkdirShared(root, dir) })
}

func (o osFiles) Create(name string) (File, error) {
	var f *os.File
	err := o.within(func(root *os.Root) (err error) {
		f, err = createShared(root, name)
		return err
	})
	if err != nil {
		return nil, err // not f: a nil *os.File in a File is not nil
	}
	return f, nil
}

func (o osFiles) Rename(from, to string) error {
	return o.within(func(root *os.Root) error { return rename(root, from, to) })
}

// Touch writes the first byte as it is. That makes the time the server's, where setting a time would make it this
// machine's. The file is opened without O_CREATE, so that a deleted file does not come back.
func (o osFiles) Touch(name string) error {
	var f *os.File
	err := o.within(func(root *os.Root) (err error) {
		f, err = openNoFollow(root, name, os.O_RDWR)
		return err
	})
	if err != nil {
		return err
	}
	var first [1]byte
	if _, err = f.ReadAt(first[:], 0); err == nil {
		_, err = f.WriteAt(first[:], 0)
	}
	if err == nil {
		err = f.Sync()
	}
	closed := f.Close()
	if err == nil && passingHere(closed) == interrupted {
		return nil // it is closed, and what was written is synced
	}
	if err == nil || closed != nil && lacksSync(err) {
		err = closed
	}
	return err
}

// Remove looks first, because Root.Remove would take an empty folder as well.
func (o osFiles) Remove(name string) error {
	return o.within(func(root *os.Root) error {
		info, err := root.Lstat(name)
		if err != nil {
			return err
		}
		if info.IsDir() {
			return errors.New("it is a folder")
		}
		return root.Remove(name)
	})
}

func (o osFiles) SyncFolder(dir string) error {
	return o.within(func(root *os.Root) error {
		f, err := root.Open(dir)
		if err != nil {
			return err
		}
		defer f.Close()
		return syncOpenFolder(f)
	})
}

func (o osFiles) Open(name string) (OpenFile, int64, error) {
	var f *os.File
	err := o.within(func(root *os.Root) (err error) {
		f, err = openNoFollow(root, name, os.O_RDONLY)
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("not a regular file: %s", info.Mode())
	}
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, info.Size(), nil
}

// makeRoot makes the folder root and the missing ones above it, and syncs each folder that has a new entry. It says
// fs.ErrExist, and syncs nothing, where root is there: the folder above is not ours, perhaps not even readable.
func makeRoot(root string, mkdir, sync func(dir string) error) error {
	above := filepath.Dir(filepath.Clean(root)) // Dir("a/b/") is "a/b"
	err := mkdir(root)
	if errors.Is(err, fs.ErrNotExist) && above != root {
		if err := makeRoot(above, mkdir, sync); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		err = mkdir(root)
	}
	if err != nil {
		return err
	}
	return sync(above)
}

func syncPath(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := syncOpenFolder(f); err != nil && !lacksSync(err) { // the first folder in it will tell
		return err
	}
	return nil
}
