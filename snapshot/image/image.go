// Package image reads disks: raw image files, block devices, standard input.
//
// A Disk is the one interface that all code above the repository works on. A snapshot is a Disk too, so restore,
// compare and export take one type.
package image

import (
	"errors"
	"io"
	"iter"
)

// A Disk has a size and random-access bytes. ReadAt is safe for concurrent use.
type Disk interface {
	io.ReaderAt
	Size() int64 // bytes
	// Extents yields the whole disk in order without gaps: runs that may hold data, and runs known to be zero without
	// reading. It may be called again, even while other goroutines read.
	Extents() iter.Seq2[Extent, error]
}

// An Extent is a run of a disk.
type Extent struct {
	Off, Len int64 // bytes
	Zero     bool  // reads as zeros, so reading it is not necessary
}

// A ChangeDetector can tell after the reads whether it changed meanwhile.
type ChangeDetector interface {
	// Changed returns an error that wraps ErrResized or ErrModified, or nil if it detected neither. It wraps
	// ErrModified only if it knows of nothing worse.
	Changed() error
}

// A Sequential disk can prepare for a reader that reads it once, in pieces of about 1 MiB, several at once.
type Sequential interface {
	// ReadSequentially is called before the first read. It does not change what is read. The disk may then read in
	// another way, without the system's read-ahead, and leave the system's caches as they were. Reads at offsets and
	// into memory that are multiples of Alignment may be faster than others.
	ReadSequentially()
}

// A Cached disk knows which of its bytes are in memory.
type Cached interface {
	// Cached reports whether n bytes at off can be read without waiting for the medium. It returns false if it cannot
	// tell.
	Cached(off, n int64) bool
}

// Alignment is the best unit of memory addresses, offsets and lengths, in bytes.
const Alignment = 4096

var (
	// ErrResized says that a disk became longer or shorter while it was read.
	ErrResized = errors.New("its size changed while it was read")
	// ErrModified says that a disk was written to while it was read: what was read is a mixture.
	ErrModified = errors.New("it was written to while it was read")
)
