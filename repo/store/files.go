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

// FileSystem is the set of calls by which Local uses a disk. A test replaces it by a disk that fails at a chosen call,
// or that loses what was not synced. Names are the store's; "." is its root.
type FileSystem interface {
	Mkdir(dir string) error // fs.ErrExist if it exists; "." also creates the missing folders above the root
	Create(name string) (File, error)
	Rename(from, to string) error
	Link(from, to string) error // fs.ErrExist if the new name exists; see cannotLink
	Touch(name string) error    // Store.Touch
	Remove(name string) error
	SyncFolder(dir string) error

	// Open opens a regular file for reading, and returns its size in bytes. It refuses links.
	Open(name string) (OpenFile, int64, error)
	// List is Store.List for a valid dir; with temps it is Local.Leftovers.
	List(ctx context.Context, dir string, temps bool) iter.Seq2[Info, error]
}

// File is a file that Local writes. *os.File retries by itself after EINTR and after a partial write.
type File interface {
	io.WriteCloser
	Sync() error
}

// OpenFile is a file that Local reads.
type OpenFile interface {
	io.ReaderAt
	io.Closer
}

// osFiles is the real file system. It uses os.Root for safety: the owner of a shared folder can turn a folder into a
// link. A Put or Delete that followed it would change other files of this machine. osFiles opens the root again for
// every call, so that it finds a share that was mounted again.
type osFiles struct {
	root string
	own  Layout // nil if everything below the root is the store's
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

// Touch rewrites the first byte with its own value. So the server sets the time; a call that sets a time would use this
// machine's clock. It opens the file without O_CREATE, so that a deleted file stays deleted.
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
	if err == nil && transienceHere(closed) == interrupted {
		return nil // it is closed, and the write is synced
	}
	if err == nil || closed != nil && lacksSync(err) {
		err = closed
	}
	return err
}

// Remove checks for a folder first: Root.Remove would also remove an empty folder.
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

// makeRoot creates the folder root and the missing folders above it. It syncs each folder with a new entry. If root
// exists, it returns fs.ErrExist and syncs nothing: the folder above is not ours, and may not even be readable.
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
	if err := syncOpenFolder(f); err != nil && !lacksSync(err) { // syncing the first folder inside reports this
		return err
	}
	return nil
}
