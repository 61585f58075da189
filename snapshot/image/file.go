package image

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// The values of File.Kind.
const (
	KindRaw    = "raw"    // an image file that holds the bytes of the disk and nothing else
	KindDevice = "device" // a block device
)

// A File is a disk that the operating system presents as a file: a raw image or, on Linux, a block device.
type File struct {
	Path string // as passed to Open, with symbolic links
	Kind string // KindRaw or KindDevice

	file     *os.File
	read     io.ReaderAt // file, or the reader that ReadSequentially put in front of it
	direct   *os.File    // the same device, opened to bypass the page cache; nil if there is none
	sectors  sectorReader
	size     int64     // bytes, at open
	modified time.Time // at open; zero for a device, whose node does not record writes
	nextData dataFinder
	locked   bool // at open, by a program that writes to it
}

var (
	_ Disk           = (*File)(nil)
	_ ChangeDetector = (*File)(nil)
	_ Sequential     = (*File)(nil)
	_ Cached         = (*File)(nil)
	_ Sectored       = (*File)(nil)
	_ io.Closer      = (*File)(nil)
)

// A dataFinder returns the first run of data at or after off, clamped to size: [start, end), with start == size if
// there is none. If the system cannot tell, everything is data.
type dataFinder func(f *os.File, off, size int64) (start, end int64, err error)

// Open opens an image file or a block device for reading. It follows symbolic links. The error wraps those of io/fs;
// for anything but a disk it says what to give instead.
func Open(path string) (*File, error) {
	// Check before the open: opening a pipe waits for its writer, and opening a tape rewinds it. O_NONBLOCK is no
	// alternative. With it, the open of a file fails while Samba holds an oplock on it, and an optical drive opens
	// without a size.
	info, err := os.Stat(path)
	if isWindowsDevice(path) { // os.Stat would return "the parameter is incorrect"
		err = errNoDevices(path)
	} else if err == nil {
		err = refusal(path, info.Mode())
	}
	if err != nil {
		return nil, fmt.Errorf("open disk: %w", err)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open disk: %w", err)
	}
	d, err := OfFile(f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	d.locked = System{}.isLocked(f, false) // before the first read
	return d, nil
}

// OfFile returns the disk in an open file. Closing the disk closes the file. The caller may also use and close the file
// itself.
func OfFile(f *os.File) (*File, error) {
	d := &File{Path: f.Name(), file: f, read: f, nextData: nextData}
	if err := d.identify(); err != nil {
		return nil, fmt.Errorf("open disk: %w", err)
	}
	return d, nil
}

// identify fills in kind, size and time from the open file: since the check in Open, its name may lead elsewhere.
func (d *File) identify() error {
	info, err := d.file.Stat()
	if err != nil {
		return err
	}
	if err := refusal(d.Path, info.Mode()); err != nil {
		return err
	}
	d.Kind = KindRaw
	if !info.Mode().IsRegular() {
		d.Kind = KindDevice
	}
	d.size, d.modified, err = d.measure()
	return err
}

// refusal returns an error if something is not a disk. The error says what to do about it.
func refusal(path string, mode fs.FileMode) error {
	switch {
	case mode.IsRegular():
		return nil
	case mode.IsDir():
		return fmt.Errorf("%s is a folder: platter backs up whole disks; give a disk image or a block device", path)
	case mode&fs.ModeNamedPipe != 0:
		return fmt.Errorf("%s is a pipe: use - and redirect it, as in - < %s", path, path)
	case mode&fs.ModeSocket != 0:
		return fmt.Errorf("%s is a socket: use - and pipe what it sends into platter", path)
	case mode&fs.ModeDevice != 0 && runtime.GOOS != "linux":
		return errNoDevices(path)
	case mode&fs.ModeCharDevice != 0:
		return fmt.Errorf("%s is a character device: give a disk image or a block device", path)
	case mode&fs.ModeDevice != 0:
		return nil
	}
	return fmt.Errorf("%s is neither a file nor a block device (%s): give a disk image or a block device", path, mode)
}

func isWindowsDevice(path string) bool {
	return runtime.GOOS == "windows" && strings.HasPrefix(path, `\\.\`)
}

func errNoDevices(path string) error {
	return fmt.Errorf("%s is a device, and platter reads devices only on Linux so far: copy it into an image file, "+
		"or use - and pipe it into platter: %w", path, errors.ErrUnsupported)
}

// measure returns the disk's size in bytes and modification time now.
func (d *File) measure() (int64, time.Time, error) {
	if d.Kind == KindDevice {
		// The seek does no harm: every read carries its own offset.
		size, err := d.file.Seek(0, io.SeekEnd)
		return size, time.Time{}, err
	}
	info, err := d.file.Stat()
	if err != nil {
		return 0, time.Time{}, err
	}
	return info.Size(), info.ModTime(), nil
}

// Size returns the size at open, in bytes.
func (d *File) Size() int64 { return d.size }

// ReadAt reads at a byte offset. The disk ends where it ended at open. If it has become shorter since, the error wraps
// ErrResized and io.ErrUnexpectedEOF.
func (d *File) ReadAt(p []byte, off int64) (int, error) {
	if off >= d.size {
		return 0, io.EOF
	}
	whole := off < 0 || int64(len(p)) <= d.size-off // the system refuses a negative offset
	if !whole {
		p = p[:d.size-off]
	}
	n, err := d.read.ReadAt(p, off)
	switch {
	case err == io.EOF && n < len(p):
		return n, fmt.Errorf("read %s at byte %d: %w: %w", d.Path, off+int64(n), ErrResized, io.ErrUnexpectedEOF)
	case err != nil && err != io.EOF:
		return n, err // already names the path
	case !whole:
		return n, io.EOF
	}
	return n, nil
}

// Changed compares size and modification time with those at open; for a device, only the size. It may miss a write in
// the same clock tick (up to 10 ms) as the last one before open. It may also miss a write through a memory map until
// its pages are flushed.
func (d *File) Changed() error {
	size, modified, err := d.measure()
	switch {
	case err != nil:
		return fmt.Errorf("check disk again: %w", err)
	case size != d.size:
		return fmt.Errorf("%s: %w: %d bytes when it was opened, %d bytes now", d.Path, ErrResized, d.size, size)
	case !modified.Equal(d.modified):
		return fmt.Errorf("%s: %w: at %s", d.Path, ErrModified, modified.Format(time.RFC3339Nano))
	case d.locked || System{}.isLocked(d.file, false):
		return fmt.Errorf("%s: %w: a program that writes to it has it locked", d.Path, ErrModified)
	}
	return nil
}

// Close closes the file. Later reads fail with fs.ErrClosed.
func (d *File) Close() error {
	err := d.file.Close()
	if errors.Is(err, syscall.EINTR) { // the file is closed despite the error
		err = nil
	}
	if d.direct != nil {
		err = errors.Join(err, d.direct.Close())
	}
	return errors.Join(err, d.sectors.close())
}

// Extents yields the holes and data that the file system reports. If it reports nothing, all is data. A device is one
// extent. The extents end at the size at open.
func (d *File) Extents() iter.Seq2[Extent, error] {
	return Joined(func(yield func(Extent, error) bool) {
		if d.Kind == KindDevice {
			yield(Extent{Len: d.size}, nil)
			return
		}
		for off := int64(0); off < d.size; {
			start, end, err := d.nextData(d.file, off, d.size)
			if err != nil {
				yield(Extent{}, fmt.Errorf("look for holes in %s: %w", d.Path, err))
				return
			}
			if start > off && !d.looksEmpty(off, start) {
				start, end = off, d.size
			}
			if !yield(Extent{Off: off, Len: start - off, Zero: true}, nil) ||
				!yield(Extent{Off: start, Len: end - start}, nil) {
				return
			}
			off = end
		}
	})
}

// looksEmpty reads the first and the last block of a hole. File systems have reported holes where there was data, and a
// backup that trusts them silently loses it. virtiofs in Docker reported whole files as empty
// (docker/sbx-releases#526), and ZFS recent writes (openzfs/zfs#15526). Such false holes begin or end at data, so two
// blocks detect most of them.
func (d *File) looksEmpty(off, end int64) bool {
	var block [blockLen]byte
	for _, at := range [...]int64{off, max(off, end-blockLen)} {
		n, err := d.read.ReadAt(block[:min(blockLen, end-at)], at)
		if err != nil && err != io.EOF || !isZero(block[:n]) {
			return false
		}
	}
	return true
}
