package restore

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
	// DropCache makes a run, which was written before, come from the medium when it is read next. Where it returns
	// errors.ErrUnsupported the system cannot do that for a part of a file.
	DropCache(off, n int64) error
	Sync() error
}

// blocks is an open file or device. Where direct is there, whole blocks bypass the page cache: that takes a fifth of the time
// in the kernel, the medium works while the cores do, a sync finds nothing left to wait for, what is read back comes from
// the medium, and the page cache keeps what it had.
type blocks struct {
	file   *os.File
	direct *os.File    // nil where there is none
	grain  int64       // what offsets and lengths past the page cache are multiples of, bytes
	broken atomic.Bool // direct was refused after all
}

// whole returns the file to use for p: the direct one for whole blocks.
func (t *blocks) whole(p []byte, off int64) *os.File {
	if t.direct != nil && !t.broken.Load() && int64(len(p))%t.grain == 0 && off%t.grain == 0 && onPage(p) {
		return t.direct
	}
	return t.file
}

// refused reports whether the system would not do to t.direct what it does to t.file.
func (t *blocks) refused(f *os.File, err error) bool {
	if f == t.direct && isInvalid(err) {
		t.broken.Store(true)
		return true
	}
	return false
}

func (t *blocks) ReadAt(p []byte, off int64) (int, error) {
	f := t.whole(p, off)
	n, err := f.ReadAt(p, off)
	if t.refused(f, err) {
		n, err = t.file.ReadAt(p, off)
	}
	return n, err
}

func (t *blocks) WriteAt(p []byte, off int64) (int, error) {
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

func (t *blocks) Sync() error { return cmp.Or(t.file.Sync(), t.syncDirect()) }

// syncDirect syncs the other descriptor too: a write error is told once to every open file, and this one has its own.
func (t *blocks) syncDirect() error {
	if t.direct == nil {
		return nil
	}
	return t.direct.Sync()
}

func (t *blocks) Close() error {
	var err error
	if t.direct != nil {
		err = closing(t.direct)
	}
	return errors.Join(err, closing(t.file))
}

// A fileTarget is a regular file of a disk's size. It bypasses the page cache where the system and the file system are known
// to do that well.
type fileTarget struct {
	blocks
	disk *image.File // the same open file, for its extents

	unsynced bool // the file system has no sync
}

var _ target = (*fileTarget)(nil)

// newFileTarget takes over f, of whatever length, and makes it size bytes long.
func newFileTarget(f *os.File, size int64) (*fileTarget, error) {
	if err := f.Truncate(size); err != nil {
		return nil, errors.Join(fmt.Errorf("make it %d bytes long: %w", size, err), f.Close())
	}
	disk, err := image.OfFile(f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &fileTarget{blocks: blocks{file: f, direct: openDirect(f), grain: chunk.Block}, disk: disk}, nil
}

// Sync makes what was written durable, as far as the file system can. That it cannot at all is no reason to have no file.
func (t *fileTarget) Sync() error {
	for _, sync := range []func() error{t.file.Sync, t.syncDirect} {
		err := sync()
		t.unsynced = t.unsynced || lacksSync(err)
		if err != nil && !lacksSync(err) {
			return err
		}
	}
	return nil
}

func (t *fileTarget) Size() int64 { return t.disk.Size() }

func (t *fileTarget) Extents() iter.Seq2[image.Extent, error] { return t.disk.Extents() }

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

func (t *fileTarget) DropCache(off, n int64) error { return dropCache(t.file, off, n) }
