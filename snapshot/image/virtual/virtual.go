// Package virtual reads and writes the files in which virtual machines keep their disks.
//
// What it gives is the virtual disk, so a machine that is kept in one format is the same disk in every other. What is not
// allocated is never read. Nothing that a file says is believed before it was checked: a guest writes what it likes into
// its own disk, and a broken file must end in an error, never in wrong bytes, a crash or all of the memory.
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
	// ErrDamaged says that a file is not what its format demands.
	ErrDamaged = errors.New("the image file is damaged")
	// ErrUnsupported says that a file uses something that this package does not know, and what.
	ErrUnsupported = errors.New("not supported")
)

// A format is one way to keep a virtual disk in a file: one file of this package, and one row below.
type format struct {
	name   string
	detect func(e edges) bool
	open   func(o *opening) (image.Disk, error)
	// create is nil where the format is only read.
	create func(c *creation) (Writer, error)
}

// formats are in the order in which they are looked for.
var formats = []format{
	{qcow2Name, detectQcow2, openQcow2, createQcow2},
	{"vmdk", detectVMDK, openVMDK, createVMDK},
	{"vdi", detectVDI, openVDI, createVDI},
	{VHDX, detectVHDX, openVHDX, createVHDX},
	// The last: a fixed VHD is known by its last sector, and what is said at a file's beginning goes before that.
	{VHD, detectVHD, openVHD, createVHD},
}

// Raw is the name of no format: the file's bytes are the disk's.
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

// edges are what of a file tells its format.
type edges struct {
	head, tail []byte // the first and the last edgeLen bytes, less where it is shorter or cannot be read
	size       int64  // of the file, in bytes
}

const edgeLen = 4096

// Detect tells the format of a file from its content; Raw where it is none of them.
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

// edge reads the beginning or the end of a file. What a failing medium does not give tells nothing: the disk is raw then.
func edge(d image.Disk, off int64) ([]byte, error) {
	p := make([]byte, min(edgeLen, d.Size()))
	n, err := d.ReadAt(p, off)
	if err != nil && err != io.EOF && !image.IsMediaError(err) {
		return nil, fmt.Errorf("look for the image's format: %w", err)
	}
	return p[:n], nil
}

// MayBeRaw reports whether a file that Detect found to be of a format, and that Open failed at, may be a raw disk whose guest made
// it begin like that. What is whole and only not supported is no raw disk; nor is a text that names files with the data.
func MayBeRaw(d image.Disk, format string, err error) bool {
	return errors.Is(err, ErrDamaged) && !(format == "vmdk" && d.Size() <= vmdkDescriptorMax)
}

// Options say how to open a virtual disk.
type Options struct {
	Snapshot      string // the internal snapshot to read, by its name or its number; empty for what is now
	FollowBacking bool   // read files that this one is a difference to, wherever it says they are
}

// A Disk is a virtual disk.
type Disk struct {
	image.Disk
	Notes []string      // what whoever reads it should hear about it
	files []*image.File // that it is read from
}

var (
	_ image.Disk           = (*Disk)(nil)
	_ image.ChangeDetector = (*Disk)(nil)
	_ image.Sequential     = (*Disk)(nil)
	_ io.Closer            = (*Disk)(nil)
)

// Open opens the virtual disk in a file. The file is the disk's from then on, also where it fails. The error wraps
// ErrDamaged, ErrUnsupported or what reading fails with.
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

// An opening is what a format opens: the file's own bytes and extents, how, and the way to other files.
type opening struct {
	image.Disk // the file
	Options
	path string                                // of the file
	also func(path string) (image.Disk, error) // opens one more; the disk closes it
	note func(text string)                     // what does not stand in the way, and should be heard
	// detect is Detect, which formats cannot name, as it names them.
	detect func(d image.Disk) (string, error)
}

func (d *Disk) note(text string) { d.Notes = append(d.Notes, text) }

// maxFiles bounds what one disk is made of. VMware splits a disk into files of 2 GiB.
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

// beside opens a file in the same folder. A name that leads elsewhere is refused, and so is a link.
func (o *opening) beside(name string) (image.Disk, error) {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\\\x00") {
		return nil, fmt.Errorf("%w: a part of the disk in another folder: %q", ErrUnsupported, name)
	}
	path := filepath.Join(filepath.Dir(o.path), name)
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("open a part of the disk: %w; put all the files of the disk beside this one, under the names that it has for them", err)
	case err != nil:
		return nil, fmt.Errorf("open a part of the disk: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: a part of the disk that is no regular file: %s", ErrUnsupported, path)
	}
	return o.also(path)
}

// Claims returns the programs that write to one of the files: what is in them is no image then, as these hold tables in memory.
func (d *Disk) Claims() ([]image.Use, error) { return image.Claims(d.files...) }

// Changed reports whether one of the files was changed since it was opened, or may be at any moment. Where one was only written to
// and another has a new size, or cannot be looked at, it tells of the latter alone: joined, the first would pass for all there is.
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

// ReadSequentially readies all files for a single pass.
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

// CreateOptions say how to write a virtual disk.
type CreateOptions struct {
	Compress bool // where the format can; streamOptimized VMDK always does
	// Extents are the disk's, the same each time: what a format needs that must know beforehand what is where.
	Extents func() iter.Seq2[image.Extent, error]
}

// A Writer takes a disk from its first byte to its last.
type Writer interface {
	// Write takes the next bytes of the disk.
	io.Writer
	// Skip says that the next n bytes are zeros.
	Skip(n int64) error
	// Close ends the file after all of the disk is written. It neither syncs nor closes what it wrote to.
	Close() error
}

// Create returns what writes a disk of size bytes to w, an empty file or, for formats that need nothing else, any stream.
// The error wraps ErrUnsupported where the format cannot hold the disk, or needs a file.
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

// A creation is what a format writes, and onto what.
type creation struct {
	io.Writer
	CreateOptions
	size int64 // of the disk, in bytes
}

// file returns the file that is written to; an error for a stream.
func (c *creation) file() (io.WriterAt, error) {
	f, ok := c.Writer.(io.WriterAt)
	if !ok {
		return nil, fmt.Errorf("%w: this format has to go back to its beginning; give a file, not a stream", ErrUnsupported)
	}
	return f, nil
}
