package image

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
)

// An Identity is what a block device says of itself. What it does not say is empty; of a partition it is the disk's.
type Identity struct {
	Model, Serial, WWN string
	SectorSize         int64 // bytes, as the device is addressed; 0 for a file
	PhysicalSectorSize int64 // bytes, as the medium is written; 0 for a file

	Partition int    // its number, of a partition; else 0
	Removable bool   // the medium can be changed, so model and serial number may be those of a card reader
	Place     string // of a loop device the file behind it, of a device-mapper device its path by name; else ""

	serials []string // all that the device is known by: programs do not agree on one
}

// HasSerial reports whether a serial number is one of the device's.
func (i Identity) HasSerial(serial string) bool {
	return serial != "" && (serial == i.Serial || slices.Contains(i.serials, serial))
}

// A UseKind says in which way a device is used.
type UseKind int

// The ways to use a device, or an image file. Neither may be written to behind the user's back.
const (
	UseMount UseKind = iota // a file system on it is mounted
	UseSwap                 // the system swaps to it
	UseHeld                 // another device is made of it: md, device-mapper, loop
	UseLock                 // a program holds a lock on it
	UseOpen                 // a program has it open for writing, or mapped to write to it
)

// A Use is one use that is made of a device, of a partition of it, or of an image file.
type Use struct {
	Kind UseKind
	// Device is the kernel's name of what is used: the device, a partition of it, or the disk that it is a partition of. Of a
	// file it is the path.
	Device   string
	By       string // where it is mounted, which device holds it, or which program; "" where that is not known
	Writable bool   // what uses it may write to it
}

// IsProgram reports whether a program makes the use, and not the system itself.
func (u Use) IsProgram() bool { return u.Kind == UseLock || u.Kind == UseOpen }

func (u Use) String() string {
	switch {
	case u.Kind == UseSwap:
		return u.Device + " is swapped on"
	case u.Kind == UseHeld:
		return fmt.Sprintf("%s is held by %s", u.Device, u.By)
	case u.Kind == UseLock && u.By == "":
		return fmt.Sprintf("%s is locked by a program that cannot be seen from here (another user's, or on another machine)", u.Device)
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

// A System is where Linux tells of devices: sys, proc and run below a folder. The zero value is the machine's own; tests
// make up others.
//
// Its methods take an open device rather than a path, because a path may lead elsewhere the next moment.
type System struct{ Root string }

// Identity returns what the device says of itself; nothing for a file.
func (d *File) Identity() Identity { return d.IdentityIn(System{}) }

// IdentityIn is Identity on another system.
func (d *File) IdentityIn(s System) Identity { return s.Identity(d.file) }

// Uses returns what the system uses the device or the file for now.
func (d *File) Uses() ([]Use, error) { return System{}.Uses(d.file) }

// Identity returns what an open device says of itself; nothing for a file.
func (s System) Identity(f *os.File) Identity { return s.identity(f) }

// Uses returns what the system uses an open device for, its partitions, and the disk that it is a partition of; of a file, the
// loop devices that it is behind, with what uses those, and whether it is swapped to. In which mount namespaces it looks
// depends on the user: root sees all. Programs are those that Claims returns.
func (s System) Uses(f *os.File) ([]Use, error) {
	uses, err := s.uses(f)
	if err != nil {
		return nil, fmt.Errorf("find out what uses %s: %w", f.Name(), err)
	}
	return uses, nil
}

// Holds reports whether a file or folder is on an open device, directly or through partitions, md, device-mapper and loop
// devices.
func (s System) Holds(f *os.File, path string) (bool, error) {
	held, err := s.holds(f, path)
	if err != nil {
		return false, fmt.Errorf("find the device that %s is on: %w", path, err)
	}
	return held, nil
}

// Name returns the kernel's name of an open device, such as sdb1; "" for a file.
func (s System) Name(f *os.File) string { return s.name(f) }

// IsPartition reports whether an open device is a partition of another.
func (s System) IsPartition(f *os.File) bool { return s.isPartition(f) }

// IsReadOnly reports whether an open device takes no writes.
func (s System) IsReadOnly(f *os.File) bool { return s.isReadOnly(f) }

// Remedy is a command that ends the use.
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
