// Package imagetest has disks that fail, count or change, for tests of what reads disks.
package imagetest

import (
	"compress/gzip"
	"io"
	"os"
	"sync/atomic"
	"testing"

	"platter/snapshot/image"
)

// Sector is the length of a Faulty disk's sectors in bytes.
const Sector = 512

// Faulty is a disk whose reads can fail on demand. It has no capability of the disk in it. The functions may be called
// from many goroutines at once; set them before use.
type Faulty struct {
	image.Disk
	// Fail is called for each read. An error is the read's, which then reads nothing. Nil: no read fails.
	Fail func(off int64, n int) error
	// Bad is called with the offset of each sector that a read touches. The first error is the read's. Nil: no sector
	// is bad.
	Bad func(off int64) error
	// Partial makes a read that touches a bad sector return the bytes before it.
	Partial bool

	reads, bytes atomic.Int64
}

// ReadAt reads at a byte offset.
func (f *Faulty) ReadAt(p []byte, off int64) (int, error) {
	f.reads.Add(1)
	f.bytes.Add(int64(len(p)))
	if f.Fail != nil {
		if err := f.Fail(off, len(p)); err != nil {
			return 0, err
		}
	}
	for at := off - off%Sector; f.Bad != nil && at < off+int64(len(p)); at += Sector {
		if err := f.Bad(at); err != nil {
			if !f.Partial {
				return 0, err
			}
			n, _ := f.Disk.ReadAt(p[:max(0, at-off)], off)
			return n, err
		}
	}
	return f.Disk.ReadAt(p, off)
}

// Reads returns the number of reads, including those that failed.
func (f *Faulty) Reads() int64 { return f.reads.Load() }

// BytesRead returns the number of bytes that reads asked for.
func (f *Faulty) BytesRead() int64 { return f.bytes.Load() }

// After returns a Fail that returns err for every read after the first n: a disk that was unplugged.
func After(n int64, err error) func(int64, int) error {
	var reads atomic.Int64
	return func(int64, int) error {
		if reads.Add(1) > n {
			return err
		}
		return nil
	}
}

// Where returns a Bad that returns err for the sectors for which bad is true.
func Where(bad func(off int64) bool, err error) func(off int64) error {
	return func(off int64) error {
		if bad(off) {
			return err
		}
		return nil
	}
}

// Changing is a disk in memory that reports a change when it is asked.
type Changing struct {
	image.Mem
	Err error // wraps image.ErrModified or image.ErrResized
}

// Changed returns Err.
func (c Changing) Changed() error { return c.Err }

// Gunzip returns the bytes of a file that gzip compressed.
func Gunzip(t testing.TB, path string) []byte {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
