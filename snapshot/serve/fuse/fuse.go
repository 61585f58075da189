// Package fuse shows versions of disks as files in a folder, through FUSE on Linux.
//
// The promise: a file's bytes, size, time and holes are those of the version. What cannot be read is an I/O error, and
// the next read tries again. Nothing is written unless Options.Writable allows it, and then only to the disk that the
// catalog opens.
//
//	DIR/NAME/TIME/disk.img       a version's disk
//	DIR/NAME/TIME/p2-root.img    one of its partitions
//	DIR/NAME/TIME/disk.json      its description
//	DIR/NAME/latest              a link to the newest TIME
//
// With Options.Version, DIR holds the files of that version.
package fuse

import (
	"context"
	"errors"
	"time"

	"platter/snapshot/image"
)

// A Catalog knows the disks to show. Its methods are safe for concurrent use. Each returns early if ctx ends, and the
// caller does not change what they return. A program that looks into a folder sees their errors as I/O errors.
type Catalog interface {
	// Disks returns the names of the disks, as their owner gave them. SafeNames makes the names of folders.
	Disks(ctx context.Context) ([]string, error)
	// Versions returns the versions of a disk, oldest first. It is called about once a second while a folder is in use.
	Versions(ctx context.Context, disk string) ([]Version, error)
	// Files returns the files of a version. They never change, so it is called once for a version in use.
	Files(ctx context.Context, v Version) ([]File, error)
}

// A Version is one folder of a disk.
type Version struct {
	ID   string // unlike that of any other version
	Time time.Time
}

// A File is a disk, a partition, or a text that describes them.
type File struct {
	Name     string // unlike that of any other file of the version; shown as SafeNames makes it
	Size     int64  // bytes
	Data     int64  // bytes that are not in holes; negative if not known
	Writable bool   // Open returns an image.Writable
	// Open opens the file for the first program that uses it. The disk has File's size, and works after ctx has ended. If
	// it is an io.Closer, it is closed after the last use. A later use opens it again, and must find what was written.
	Open func(ctx context.Context) (image.Disk, error)
}

// Options say how to mount.
type Options struct {
	Version    *Version // if set, the folder holds the files of this version, and only Files of the catalog is called
	Writable   bool     // files that are Writable may be changed
	AllowOther bool     // all users may read; otherwise only the user that mounts
	Name       string   // shown by mount and df as the file system; "platter" if empty
	// Report, if set, is called for each read, write or look into a folder that fails. Programs that use the files see
	// only an I/O error. It is called by several goroutines at once.
	Report func(file string, err error)

	refresh time.Duration // how long a list of disks or versions counts; 0 is a second
}

// Errors of Mount. A folder that does not exist is fs.ErrNotExist.
var (
	ErrUnsupported  = errors.New("mounting works on Linux only; use `platter nbd`, or export the version to a file")
	ErrNotFolder    = errors.New("not a folder")
	ErrNotEmpty     = errors.New("not empty; choose an empty folder")
	ErrMounted      = errors.New("something is mounted there already; unmount it, or choose another folder")
	ErrDeadMount    = errors.New("the program that served the file system mounted there has ended")
	ErrNoFUSE       = errors.New("this system has no FUSE (/dev/fuse); load it with `modprobe fuse`")
	ErrNoRight      = errors.New("no right to mount")
	ErrNoFusermount = errors.New("fusermount3, which mounts for users other than root, is not installed (package fuse3)")
	ErrAllowOther   = errors.New("only root may let other users in, unless /etc/fuse.conf has the line user_allow_other")
)

// ErrBusy says that programs use files of a mounted folder, or have it as their working directory.
var ErrBusy = errors.New("in use")
