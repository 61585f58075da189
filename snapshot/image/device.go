package image

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
)

// An Identity is what a block device reports about itself. Fields that it does not report are empty. A partition has
// the identity of its disk.
type Identity struct {
	Model, Serial, WWN string
	SectorSize         int64 // the unit of addresses, bytes; 0 for a file
	PhysicalSectorSize int64 // the unit in which the medium is written, bytes; 0 for a file

	Partition int    // the partition's number; 0 for a whole disk
	Removable bool   // the medium can be changed: model and serial number may be the card reader's
	Place     string // of a loop device its file, of a device-mapper device its path by name; else ""

	serials []string // all serial numbers of the device: programs disagree on which one is right
}

// HasSerial reports whether serial is one of the device's serial numbers.
func (i Identity) HasSerial(serial string) bool {
	return serial != "" && (serial == i.Serial || slices.Contains(i.serials, serial))
}

// A UseKind is a kind of use of a device or file.
type UseKind int

// The uses of a device or an image file. While any of them lasts, platter must not write to the device or file.
const (
	UseMount UseKind = iota // a file system on it is mounted
	UseSwap                 // it is swap space
	UseHeld                 // another device is built on it: md, device-mapper, loop
	UseLock                 // a program holds a lock on it
	UseOpen                 // a program has it open or mapped for writing
)

// A Use is one use of a device, of one of its partitions, or of an image file.
type Use struct {
	Kind UseKind
	// Device is the kernel's name of what is in use: the device, one of its partitions, or the disk of the partition.
	// For a file it is the path.
	Device   string
	By       string // mount point, holding device or program; "" if not known
	Writable bool   // the user may write to it
}

// IsProgram reports whether the user is a program, not the system itself.
func (u Use) IsProgram() bool { return u.Kind == UseLock || u.Kind == UseOpen }

func (u Use) String() string {
	switch {
	case u.Kind == UseSwap:
		return u.Device + " is swapped on"
	case u.Kind == UseHeld:
		return fmt.Sprintf("%s is held by %s", u.Device, u.By)
	case u.Kind == UseLock && u.By == "":
		return fmt.Sprintf("%s is locked by a program that is not visible here (another user's, or on another machine)", u.Device)
	case u.Kind == UseLock:
		return fmt.Sprintf("%s is locked by %s", u.Device, u.By)
	case u.Kind == UseOpen:
		return fmt.Sprintf("%s is open for writing in %s", u.Device, u.By)
	case u.By == "":
		return fmt.Sprintf("%s is mounted", u.Device)
	case u.Writable:
		return fmt.Sprintf("%s is mounted on %s (rw)", u.Device, u.By)
	}
	return fmt.Sprintf("%s is mounted on %s (ro)", u.Device, u.By)
}

// A System is where Linux publishes its devices: the folders sys, proc and run below Root. The zero value is this
// machine; tests use made-up ones.
//
// The methods take an open device, not a path: a path may lead elsewhere a moment later.
type System struct{ Root string }

// Identity returns what the device reports about itself. It is empty for a file.
func (d *File) Identity() Identity { return d.IdentityIn(System{}) }

// IdentityIn is Identity on another System.
func (d *File) IdentityIn(s System) Identity { return s.Identity(d.file) }

// Uses returns the system's uses of the device or file now.
func (d *File) Uses() ([]Use, error) { return System{}.Uses(d.file) }

// Identity returns what an open device reports about itself. It is empty for a file.
func (s System) Identity(f *os.File) Identity { return s.identity(f) }

// Uses returns the system's uses of an open device, its partitions, and the disk that it is a partition of. For a file
// it returns the loop devices on it with their uses, and swap. It searches the mount namespaces that the user may
// inspect; root sees all. Claims returns the uses by programs.
func (s System) Uses(f *os.File) ([]Use, error) {
	uses, err := s.uses(f)
	if err != nil {
		return nil, fmt.Errorf("find out what uses %s: %w", f.Name(), err)
	}
	return uses, nil
}

// Holds reports whether an open device holds a file or folder, directly or through partitions, md, device-mapper and
// loop devices.
func (s System) Holds(f *os.File, path string) (bool, error) {
	held, err := s.holds(f, path)
	if err != nil {
		return false, fmt.Errorf("find the device that %s is on: %w", path, err)
	}
	return held, nil
}

// Name returns the kernel's name of an open device, such as sdb1; "" for a file.
func (s System) Name(f *os.File) string { return s.name(f) }

// IsPartition reports whether an open device is a partition.
func (s System) IsPartition(f *os.File) bool { return s.isPartition(f) }

// IsReadOnly reports whether an open device refuses writes.
func (s System) IsReadOnly(f *os.File) bool { return s.isReadOnly(f) }

// Remedy returns a command that ends the use.
func (u Use) Remedy() string {
	switch {
	case u.Kind == UseSwap && strings.HasPrefix(u.Device, "/"):
		return "swapoff " + u.Device
	case u.Kind == UseSwap:
		return "swapoff /dev/" + u.Device
	case u.IsProgram():
		return "end " + cmp.Or(u.By, "that program")
	case u.Kind == UseMount && u.By == "":
		return "umount /dev/" + u.Device
	case u.Kind == UseMount:
		return "umount " + u.By
	}
	name, _, _ := strings.Cut(u.By, " ")
	switch {
	case strings.HasPrefix(name, "md"):
		return "mdadm --stop /dev/" + name
	case strings.HasPrefix(name, "loop"):
		return "losetup --detach /dev/" + name
	case strings.HasPrefix(name, "dm-"):
		return fmt.Sprintf("vgchange -an, cryptsetup close, or dmsetup remove, whichever made %s", u.By)
	}
	return "release " + name
}
