package snapshot

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"sync/atomic"

	"platter/chunk"
	"platter/snapshot/image"
)

// A target is what a disk is written onto: a file, which may be sparse. Its methods are safe for concurrent use.
type target interface {
	image.Disk // what is there now
	io.WriterAt
	// Zero makes a run read as zeros, and takes its room back where the system can.
	Zero(off, n int64) error
	// Settle makes a run, which was written before, come from the medium when it is read next. Where it returns
	// errors.ErrUnsupported the system cannot do that for a part of a file.
	Settle(off, n int64) error
	Sync() error
}

// A fileTarget is a regular file of a disk's size. Where the system and the file system are known to do it well, whole
// blocks bypass the page cache: that takes a fifth of the time in the kernel, the medium works while the cores do, a sync
// finds nothing left to wait for, what is read back comes from the medium, and the page cache keeps what it had.
type fileTarget struct {
	file   *os.File
	disk   *image.File // for its extents
	direct *os.File    // nil where there is none
	broken atomic.Bool // direct was refused after all
}

var _ target = (*fileTarget)(nil)

// newFileTarget takes over f, of whatever length, and makes it size bytes long.
func newFileTarget(f *os.File, size int64) (*fileTarget, error) {
	err := f.Truncate(size)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make it %d bytes long: %w", size, err), f.Close())
	}
	t := &fileTarget{file: f}
	if t.disk, err = image.Open(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	t.direct = openDirect(f)
	return t, nil
}

// Close closes the file.
func (t *fileTarget) Close() error {
	var err error
	if t.direct != nil {
		err = t.direct.Close()
	}
	return errors.Join(err, t.disk.Close(), t.file.Close())
}

func (t *fileTarget) Size() int64 { return t.disk.Size() }

func (t *fileTarget) Extents() iter.Seq2[image.Extent, error] { return t.disk.Extents() }

// whole returns the file to use for p: the direct one for whole blocks.
func (t *fileTarget) whole(p []byte, off int64) *os.File {
	if t.direct != nil && !t.broken.Load() && len(p)%chunk.Block == 0 && off%chunk.Block == 0 && onPage(p) {
		return t.direct
	}
	return t.file
}

// refused reports whether the system would not do to t.direct what it does to t.file.
func (t *fileTarget) refused(f *os.File, err error) bool {
	if f == t.direct && isInvalid(err) {
		t.broken.Store(true)
		return true
	}
	return false
}

func (t *fileTarget) ReadAt(p []byte, off int64) (int, error) {
	f := t.whole(p, off)
	n, err := f.ReadAt(p, off)
	if t.refused(f, err) {
		n, err = t.file.ReadAt(p, off)
	}
	return n, err
}

func (t *fileTarget) WriteAt(p []byte, off int64) (int, error) {
	f := t.whole(p, off)
	n, err := f.WriteAt(p, off)
	if t.refused(f, err) {
		f = t.file
		n, err = f.WriteAt(p, off)
	}
	if err == nil && f == t.file {
		startWriting(f, off, int64(len(p)))
	}
	return n, err
}

// zeros are what is written where no hole can be made.
var zeros [256 << 10]byte

func (t *fileTarget) Zero(off, n int64) error {
	if err := punch(t.file, off, n); !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return writeZeros(t.file, off, n)
}

// writeZeros does what a hole would.
func writeZeros(w io.WriterAt, off, n int64) error {
	for n > 0 {
		step := min(n, int64(len(zeros)))
		if _, err := w.WriteAt(zeros[:step], off); err != nil {
			return err
		}
		off, n = off+step, n-step
	}
	return nil
}

func (t *fileTarget) Settle(off, n int64) error { return settle(t.file, off, n) }

func (t *fileTarget) Sync() error { return cmp.Or(t.file.Sync(), t.syncDirect()) }

// syncDirect syncs the other descriptor too: a write error is told once to every open file, and this one has its own.
func (t *fileTarget) syncDirect() error {
	if t.direct == nil {
		return nil
	}
	return t.direct.Sync()
}
