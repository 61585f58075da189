// Package overlay lays writes over a disk that stays as it is: copy on write.
//
// An overlay is a file beside the disk, its base. It holds the blocks of 4096 bytes that were written, and a map of them.
// All other blocks are read from the base. A block that is written in part is first filled from the base.
//
// After a kill or a power cut at any moment, an overlay that is opened again has all that a completed Sync covered. Of
// what was not synced, each sector of 512 bytes is as before or as some later call left it. No sector is a mixture.
//
// The file holds the disk's bytes in the clear, also if the base comes from an encrypted repository. Only its owner may
// read it. Its blocks have no checksums: they are as safe from a failing medium as those of a raw image.
package overlay

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"

	"platter/snapshot/image"
)

// maxSize is the size of the largest disk, in bytes.
const maxSize = 1 << 62

var (
	// ErrDamaged says that an overlay's file is there and is wrong.
	ErrDamaged = errors.New("the overlay is damaged")
	// ErrNewer says that a newer program wrote an overlay's file.
	ErrNewer = errors.New("the overlay was written by a newer platter: use that one")
	// ErrOtherBase says that an overlay was made over another disk than the one given.
	ErrOtherBase = errors.New("the overlay belongs to another version or another disk")
)

// A Disk is a base with an overlay.
type Disk struct {
	base      image.Disk
	size      int64 // bytes
	file      *strictFile
	temporary bool         // nothing has to be durable
	gone      func() error // removes the file of a temporary overlay at the end; nil for nothing

	writing spans

	// reading is held for reading from the lookup in the map to the end of the read from the file. A unit is reused only
	// after every read that may use it has ended.
	reading sync.RWMutex

	mu      sync.RWMutex
	blocks  runs  // the map
	changed runs  // the part of the map that the journal does not have
	freed   []run // units that lost their blocks since the last sync began
	freedN  int64 // units in freed
	units   units

	wrote atomic.Bool  // the file was written to since the last sync began
	begun atomic.Int64 // number of syncs

	syncing sync.Mutex
	journal *journal // nil for a temporary overlay
	ended   int64    // number of the last sync that ended
	outcome error    // of that one
	closed  bool
}

var _ image.Writable = (*Disk)(nil)

// Create makes a new overlay over a base. The error wraps fs.ErrExist if there is such a file.
func Create(path string, base image.Disk, id Binding) (*Disk, error) {
	f, err := newFile(path)
	if err != nil {
		return nil, fmt.Errorf("make overlay: %w", err)
	}
	d, err := create(f, base, id, newJournal)
	if err == nil {
		err = syncFolder(path)
	}
	if err != nil {
		return nil, fmt.Errorf("make overlay %s: %w", path, errors.Join(err, f.Close(), os.Remove(path)))
	}
	return d, nil
}

// Open opens an overlay that Create made over the same base, with the same binding. The error wraps image.ErrInUse,
// ErrOtherBase, ErrDamaged or ErrNewer, or those of io/fs.
func Open(path string, base image.Disk, id Binding) (*Disk, error) {
	f, err := oldFile(path)
	if err != nil {
		return nil, fmt.Errorf("open overlay: %w", err)
	}
	d, err := open(f, base, id)
	if err != nil {
		return nil, fmt.Errorf("open overlay %s: %w", path, errors.Join(err, f.Close()))
	}
	return d, nil
}

// Temporary makes an overlay that cannot be opened again. Its file is in folder, or in the system's folder for temporary
// files if folder is "". Sync makes nothing durable. Where the system allows it, the file has no name from the beginning.
// On Windows, Close removes it, and a killed process leaves it behind.
func Temporary(folder string, base image.Disk) (*Disk, error) {
	f, err := os.CreateTemp(folder, "platter-overlay-*")
	if err != nil {
		return nil, fmt.Errorf("make temporary overlay: %w", err)
	}
	d, err := temporary(diskFile{f}, base)
	if err != nil {
		return nil, fmt.Errorf("make temporary overlay: %w", errors.Join(err, f.Close(), os.Remove(f.Name())))
	}
	if os.Remove(f.Name()) != nil { // Windows does not remove an open file
		d.gone = func() error { return os.Remove(f.Name()) }
	}
	return d, nil
}

func newDisk(f file, base image.Disk) (*Disk, error) {
	size := base.Size()
	if size < 0 || size > maxSize {
		return nil, fmt.Errorf("a disk of %d bytes cannot have an overlay", size)
	}
	return &Disk{base: base, size: size, file: &strictFile{file: f}}, nil
}

func temporary(f file, base image.Disk) (*Disk, error) {
	d, err := newDisk(f, base)
	if err == nil {
		d.temporary, d.units.end = true, headers
	}
	return d, err
}

// create makes an overlay in an empty file, with a journal of so many units.
func create(f file, base image.Disk, id Binding, pages int64) (*Disk, error) {
	d, err := newDisk(f, base)
	if err != nil {
		return nil, err
	}
	d.units.end = headers
	h := header{binding: id, size: d.size, at: d.units.takeEnd(pages), spare: d.units.takeEnd(pages), len: pages}
	d.journal = &journal{header: h}
	err = writeZeros(f, h.spare, h.len)
	if err == nil {
		err = d.journal.fill(d.file, &d.blocks)
	}
	if err != nil {
		return nil, err
	}
	return d, writeHeader(d.file, &d.journal.header)
}

func open(f file, base image.Disk, id Binding) (*Disk, error) {
	d, err := newDisk(f, base)
	if err != nil {
		return nil, err
	}
	length, err := f.Size()
	if err != nil {
		return nil, err
	}
	end := (length + unit - 1) / unit
	h, both, err := readHeader(f, length/unit)
	if err != nil {
		return nil, err
	}
	if h.binding != id || h.size != d.size {
		return nil, fmt.Errorf("%w: give the one that it was made for, or the file of another overlay", ErrOtherBase)
	}
	d.journal = &journal{header: *h}
	if err := d.journal.replay(f, length/unit, d.blocks.set); err != nil {
		return nil, err
	}
	if d.units, err = unitsOf(&d.blocks, h, end); err != nil {
		return nil, err
	}
	// A killed process may have left journal pages in the system's memory only. Units are reused because of these pages,
	// so they must be durable first.
	if err := d.file.Sync(); err != nil {
		return nil, err
	}
	if !both {
		return d, writeHeader(d.file, h)
	}
	return d, nil
}

// Size returns the base's size in bytes.
func (d *Disk) Size() int64 { return d.size }

// Close makes durable what was written, and closes the file. It does not close the base. A second Close does nothing.
func (d *Disk) Close() error {
	err := d.Sync()
	if errors.Is(err, fs.ErrClosed) {
		return nil
	}
	d.syncing.Lock()
	defer d.syncing.Unlock()
	if d.closed {
		return err
	}
	d.closed = true
	err = errors.Join(err, d.file.Close())
	if d.gone != nil {
		err = errors.Join(err, d.gone())
	}
	return err
}

// blocksOf returns the number of blocks of a disk. The last one may be short.
func blocksOf(size int64) int64 { return (size + unit - 1) / unit }
