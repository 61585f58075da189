package overlay

import (
	"errors"
	"fmt"
	"io"
	"os"

	"platter/snapshot/image"
)

// A file is what an overlay needs of its file. Tests put a file in memory in its place, which forgets what was not
// synced.
type file interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Sync makes all completed writes durable, and the size.
	Sync() error
	// Size returns the length in bytes.
	Size() (int64, error)
	// Punch frees the room of a range, which nothing refers to. Afterwards the range holds zeros, or what it held.
	Punch(off, n int64)
}

// diskFile is a file of the operating system.
type diskFile struct{ *os.File }

func (f diskFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (f diskFile) Punch(off, n int64) { punch(f.File, off, n) }

// newFile creates a file that only its owner may read, and locks it.
func newFile(path string) (file, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if err := lock(f); err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(path))
	}
	return diskFile{f}, nil
}

// oldFile opens an existing file and locks it.
func oldFile(path string) (file, error) {
	info, err := os.Stat(path) // before the open, which may wait if it is a pipe
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a file (%s): give the file of an overlay", path, info.Mode())
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	if err := lock(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return diskFile{f}, nil
}

// errLocked is the error of an overlay that another process, or this one, has open.
func errLocked(path string) error {
	return fmt.Errorf("%w: another program has the overlay %s open; end that program first, or use another file",
		image.ErrInUse, path)
}

// readFull reads all of p, which is within the file.
func readFull(f io.ReaderAt, p []byte, off int64) error {
	n, err := f.ReadAt(p, off)
	switch {
	case n == len(p):
		return nil
	case err == nil || err == io.EOF:
		return io.ErrUnexpectedEOF
	}
	return err
}

// A strictFile fails all syncs after one that failed. The system may have dropped what it could not write, so a later
// sync could succeed falsely. Calls of Sync must not overlap.
type strictFile struct {
	file
	failed error // what every Sync returns
}

func (f *strictFile) Sync() error {
	if f.failed == nil {
		if err := f.file.Sync(); err != nil {
			return f.fail(fmt.Errorf("sync the overlay: %w", err))
		}
	}
	return f.failed
}

// fail makes all later syncs fail with err, and returns it.
func (f *strictFile) fail(err error) error {
	if f.failed == nil {
		f.failed = err
	}
	return f.failed
}
