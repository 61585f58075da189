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

// A target is a file or device to write a disk onto. A file may be sparse. Its methods are safe for concurrent use.
type target interface {
	image.Disk // what is there now
	io.WriterAt
	// Zero makes a run read as zeros, and frees its room if the system can.
	Zero(off, n int64) error
	// DropCache makes the next read of a written run come from the medium. It returns errors.ErrUnsupported if the
	// system cannot do that for a part of a file.
	DropCache(off, n int64) error
	Sync() error
}

// blocks is an open file or device. If direct is set, whole blocks bypass the page cache. That takes a fifth of the
// kernel time, and the medium works in parallel with the cores. A sync need not wait, and a read back comes from the
// medium. The page cache keeps its content.
type blocks struct {
	file   *os.File
	direct *os.File    // nil if not available
	grain  int64       // the alignment of direct offsets and lengths, bytes
	broken atomic.Bool // the system refused a direct call
}

// whole returns the file to use for p: direct for whole blocks.
func (t *blocks) whole(p []byte, off int64) *os.File {
	if t.direct != nil && !t.broken.Load() && int64(len(p))%t.grain == 0 && off%t.grain == 0 && onPage(p) {
		return t.direct
	}
	return t.file
}

// refused reports whether the system refused on t.direct what it does on t.file.
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

// syncDirect also syncs the second descriptor: the system reports a write error once per open file.
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

// A fileTarget is a regular file of a disk's size. It bypasses the page cache on file systems known to do that well.
type fileTarget struct {
	blocks
	disk *image.File // the same open file, for its extents

	unsynced bool // the file system has no sync
}

var _ target = (*fileTarget)(nil)

// newFileTarget takes ownership of f, of any length, and makes it size bytes long.
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

// Sync makes written data durable as far as the file system can. A file system without sync is no error.
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

// zeros is written where no hole can be made.
var zeros [256 << 10]byte

func (t *fileTarget) Zero(off, n int64) error {
	if err := punch(t.file, off, n); !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return writeZeros(t.file, off, n)
}

// writeZeros writes zeros in place of a hole.
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
