// Package virtual reads and writes the image files of virtual machines.
//
// It presents the virtual disk, so a machine's disk is the same in every format. It never reads what is not
// allocated. It checks everything in a file before relying on it, because a guest can write anything to its own disk.
// A broken file must cause an error, never wrong bytes, a crash or unbounded use of memory.
package virtual

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"

	"platter/snapshot/image"
)

var (
	// ErrDamaged means that a file violates its format.
	ErrDamaged = errors.New("the image file is damaged")
	// ErrUnsupported means that a file uses a feature that this package does not support. The error names it.
	ErrUnsupported = errors.New("not supported")
)

// A format is a file format for virtual disks: one file of this package, and one row below.
type format struct {
	name   string
	detect func(e edges) bool
	open   func(o *opening) (image.Disk, error)
	// create is nil if the format can only be read.
	create func(c *creation) (Writer, error)
}

// formats are in the order in which Detect tries them.
var formats = []format{
	{qcow2Name, detectQcow2, openQcow2, createQcow2},
	{"vmdk", detectVMDK, openVMDK, createVMDK},
	{"vdi", detectVDI, openVDI, createVDI},
	{VHDX, detectVHDX, openVHDX, createVHDX},
	// Last: a fixed VHD is recognised by its last sector, and a signature at a file's beginning takes precedence.
	{VHD, detectVHD, openVHD, createVHD},
}

// Raw means no format: the file's bytes are the disk's.
const Raw = image.KindRaw

// Formats returns the names of all formats, Raw first.
func Formats() []string {
	names := []string{Raw}
	for _, f := range formats {
		names = append(names, f.name)
	}
	return names
}

func find(name string) (*format, error) {
	for i := range formats {
		if formats[i].name == name {
			return &formats[i], nil
		}
	}
	return nil, fmt.Errorf("format %q: want one of %s", name, strings.Join(Formats(), ", "))
}

// edges are the parts of a file that reveal its format.
type edges struct {
	head, tail []byte // the first and the last edgeLen bytes, or fewer if the file is shorter or unreadable there
	size       int64  // of the file, in bytes
}

const edgeLen = 4096

// Detect returns a file's format by its content, or Raw if it recognises none.
func Detect(d image.Disk) (string, error) {
	e := edges{size: d.Size()}
	var err error
	if e.head, err = edge(d, 0); err != nil {
		return "", err
	}
	if e.tail, err = edge(d, max(d.Size()-edgeLen, 0)); err != nil {
		return "", err
	}
	for _, f := range formats {
		if f.detect(e) {
			return f.name, nil
		}
	}
	return Raw, nil
}

// edge reads the beginning or the end of a file. It ignores media errors: an unreadable edge means a raw disk.
func edge(d image.Disk, off int64) ([]byte, error) {
	p := make([]byte, min(edgeLen, d.Size()))
	n, err := d.ReadAt(p, off)
	if err != nil && err != io.EOF && !image.IsMediaError(err) {
		return nil, fmt.Errorf("look for the image's format: %w", err)
	}
	return p[:n], nil
}

// MayBeRaw reports whether a file may be a raw disk whose guest made it look like an image of format, given the error
// of Open. A valid but unsupported image is not raw. Neither is a text that names files with the data.
func MayBeRaw(d image.Disk, format string, err error) bool {
	return errors.Is(err, ErrDamaged) && !(format == "vmdk" && d.Size() <= vmdkDescriptorMax)
}

// Options are options for Open.
type Options struct {
	Snapshot      string // the internal snapshot to read, by its name or number; empty for the current state
	FollowBacking bool   // read backing files and parents, wherever the file says they are
}

// A Disk is a virtual disk.
type Disk struct {
	image.Disk
	Notes []string      // warnings for the user
	files []*image.File // all files that it reads
}

var (
	_ image.Disk           = (*Disk)(nil)
	_ image.ChangeDetector = (*Disk)(nil)
	_ image.Sequential     = (*Disk)(nil)
	_ io.Closer            = (*Disk)(nil)
)

// Open opens the virtual disk in a file. It takes ownership of the file, even if it fails. The error wraps ErrDamaged
// or ErrUnsupported, or is a read error.
func Open(f *image.File, name string, o Options) (*Disk, error) {
	d := &Disk{files: []*image.File{f}}
	kind, err := find(name)
	if err == nil {
		d.Disk, err = kind.open(&opening{Disk: f, Options: o, path: f.Path, also: d.also, note: d.note, detect: Detect})
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open %s as %s: %w", f.Path, name, err), d.Close())
	}
	return d, nil
}

// An opening is the input of a format's open function: the file, and the way to other files.
type opening struct {
	image.Disk // the file
	Options
	path string                                // of the file
	also func(path string) (image.Disk, error) // opens another file; the disk closes it
	note func(text string)                     // reports a warning
	// detect is Detect. Formats cannot refer to it directly, because it refers to them.
	detect func(d image.Disk) (string, error)
}

func (d *Disk) note(text string) { d.Notes = append(d.Notes, text) }

// maxFiles limits the files of one disk. VMware splits a disk into files of 2 GiB.
const maxFiles = 8192

func (d *Disk) also(path string) (image.Disk, error) {
	if len(d.files) >= maxFiles {
		return nil, fmt.Errorf("%w: it is made of more than %d files", ErrUnsupported, maxFiles)
	}
	f, err := image.Open(path)
	if err != nil {
		return nil, err
	}
	d.files = append(d.files, f)
	return f, nil
}

// beside opens a file in the same folder. It refuses links, and names that lead elsewhere.
func (o *opening) beside(name string) (image.Disk, error) {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\\\x00") {
		return nil, fmt.Errorf("%w: a part of the disk is in another folder: %q", ErrUnsupported, name)
	}
	path := filepath.Join(filepath.Dir(o.path), name)
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("open a part of the disk: %w; put all files of the disk beside this one, under the names that it uses", err)
	case err != nil:
		return nil, fmt.Errorf("open a part of the disk: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: a part of the disk is not a regular file: %s", ErrUnsupported, path)
	}
	return o.also(path)
}

// Claims returns the programs that write to one of the files. They hold tables in memory, so the files are not a
// consistent image.
func (d *Disk) Claims() ([]image.Use, error) { return image.Claims(d.files...) }

// Changed reports whether one of the files has changed since it was opened, or may change at any moment. If one file
// was written to, and another has a new size or cannot be examined, it reports only the latter: joined, the milder
// error would hide the other.
func (d *Disk) Changed() error {
	var modified, worse error
	if uses, err := d.Claims(); err == nil && len(uses) > 0 {
		modified = fmt.Errorf("%w: %s", image.ErrModified, uses[0])
	}
	for _, f := range d.files {
		if err := f.Changed(); errors.Is(err, image.ErrModified) {
			modified = errors.Join(modified, err)
		} else {
			worse = errors.Join(worse, err)
		}
	}
	if worse != nil {
		return worse
	}
	return modified
}

// ReadSequentially prepares all files for a single pass.
func (d *Disk) ReadSequentially() {
	for _, f := range d.files {
		f.ReadSequentially()
	}
}

// Close closes all files.
func (d *Disk) Close() error {
	var all error
	for _, f := range d.files {
		all = errors.Join(all, f.Close())
	}
	return all
}

// CreateOptions are options for Create.
type CreateOptions struct {
	Compress bool // if the format can; streamOptimized VMDK always does
	// Extents yields the disk's extents, the same each time. Some formats must know in advance where the data is.
	Extents func() iter.Seq2[image.Extent, error]
}

// A Writer writes a disk from its first byte to its last.
type Writer interface {
	// Write writes the next bytes of the disk.
	io.Writer
	// Skip writes n zeros.
	Skip(n int64) error
	// Close completes the file after the whole disk is written. It neither syncs nor closes the underlying file.
	Close() error
}

// Create returns a Writer of a disk of size bytes to w. w is an empty file; some formats also accept a stream. The
// error wraps ErrUnsupported if the format cannot hold the disk or needs a file.
func Create(w io.Writer, name string, size int64, o CreateOptions) (Writer, error) {
	kind, err := find(name)
	if err != nil {
		return nil, err
	}
	if kind.create == nil {
		return nil, fmt.Errorf("write %s: %w", name, ErrUnsupported)
	}
	out, err := kind.create(&creation{Writer: w, CreateOptions: o, size: size})
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", name, err)
	}
	return out, nil
}

// A creation is the input of a format's create function.
type creation struct {
	io.Writer
	CreateOptions
	size int64 // of the disk, in bytes
}

// file returns the output file, or an error if the output is a stream.
func (c *creation) file() (io.WriterAt, error) {
	f, ok := c.Writer.(io.WriterAt)
	if !ok {
		return nil, fmt.Errorf("%w: this format rewrites its beginning; write to a file, not a stream", ErrUnsupported)
	}
	return f, nil
}
