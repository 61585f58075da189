// Package image reads disks: raw image files, block devices, standard input.
//
// A Disk is the narrow waist that everything above the repository works on. A snapshot is a Disk too, so restoring,
// comparing and exporting take one type.
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
	// Extents yields the whole disk in order without gaps: what may hold data, and what is known to be zero without
	// reading it. It may be called again, also while other goroutines read.
	Extents() iter.Seq2[Extent, error]
}

// An Extent is a run of a disk.
type Extent struct {
	Off, Len int64 // bytes
	Zero     bool  // reads as zeros, so it need not be read
}

// A ChangeDetector notices, after it was read, that it changed meanwhile.
type ChangeDetector interface {
	// Changed returns an error that wraps ErrResized or ErrModified, nil when neither was seen. It wraps ErrModified only where
	// nothing worse is known.
	Changed() error
}

// A Sequential disk can prepare for a reader that takes it a single time, in pieces of about 1 MiB, several at once.
type Sequential interface {
	// ReadSequentially comes before the first read. What is read stays the same; the disk may get it another way, need no
	// read-ahead by the system, and leave the system's caches as they were found. Reads into memory and from offsets that
	// are multiples of Alignment may be faster than others.
	ReadSequentially()
}

// A Cached disk knows which of its bytes are in memory.
type Cached interface {
	// Cached reports whether n bytes at off can be read without waiting for the medium. Where it cannot tell it says no.
	Cached(off, n int64) bool
}

// Alignment is what memory, offsets and lengths are best multiples of, in bytes.
const Alignment = 4096

var (
	// ErrResized says that a disk became longer or shorter while it was read.
	ErrResized = errors.New("its size changed while it was read")
	// ErrModified says that a disk was written to while it was read; what was read is a mixture.
	ErrModified = errors.New("it was written to while it was read")
)
