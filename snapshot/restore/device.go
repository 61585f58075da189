package restore

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"

	"platter/snapshot/image"
	"platter/snapshot/image/anatomy"
)

// A Device is a block device to write a disk onto. It is open exclusively: until Close, nothing can mount it or one of
// its partitions, or build another device on it.
//
// All its properties were read from the open device, and all writes go to it. It makes no difference if its path leads
// elsewhere by now, or if another device is plugged in under its name.
type Device struct {
	Path        string // as the user gave it
	Name        string // the kernel's name, such as sdb
	Size        int64  // bytes
	Identity    image.Identity
	IsPartition bool

	file     *os.File
	readOnly bool
	unused   func() error // returns an error that names what uses it now
}

// DeviceOptions say which device is expected, and what it must not hold.
type DeviceOptions struct {
	System   image.System
	Serial   string            // of the expected device; "" accepts any
	Keep     map[string]string // files and folders to keep, each with a description
	ReadOnly bool              // for a plan

	ForceInUse bool // write although programs have it open or locked
}

// IsDevice reports whether path leads to a device that OpenDevice can open.
func IsDevice(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode()&fs.ModeDevice != 0 && info.Mode()&fs.ModeCharDevice == 0 && devices
}

// OpenDevice opens a device to write onto. It refuses a device that is in use, is read-only, holds something to keep,
// or does not have the expected serial number.
func OpenDevice(path string, o DeviceOptions) (*Device, error) {
	d, err := openDevice(path, o)
	if err != nil {
		return nil, fmt.Errorf("restore to %s: %w", path, err)
	}
	return d, nil
}

func openDevice(path string, o DeviceOptions) (*Device, error) {
	f, err := openExclusive(path, !o.ReadOnly)
	if err != nil {
		return nil, whyNot(path, o, err)
	}
	d := &Device{Path: path, file: f, readOnly: o.ReadOnly, unused: func() error { return unused(f, o) }}
	if err := d.look(o); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return d, nil
}

// Close releases the device.
func (d *Device) Close() error { return d.file.Close() }

// Anatomy reads what the device holds now: what a restore would overwrite.
func (d *Device) Anatomy() *anatomy.Disk {
	t := newDeviceTarget(d)
	defer t.Close()
	return anatomy.Read(t, d.Identity.SectorSize)
}

// look reads the properties of the open device, and returns an error if it must not be written.
func (d *Device) look(o DeviceOptions) error {
	info, err := d.file.Stat()
	if err != nil {
		return err
	}
	if info.Mode()&fs.ModeDevice == 0 || info.Mode()&fs.ModeCharDevice != 0 {
		return errors.New("it is not a block device")
	}
	if d.Size, err = d.file.Seek(0, io.SeekEnd); err != nil {
		return err
	}
	if d.Size == 0 {
		return errors.New("it has no size: is a medium in it?")
	}
	d.Name, d.IsPartition, d.Identity = o.System.Name(d.file), o.System.IsPartition(d.file), o.System.Identity(d.file)
	if err := d.isMeant(o.Serial); err != nil {
		return err
	}
	if err := d.unused(); err != nil {
		return err
	}
	if o.System.IsReadOnly(d.file) {
		return errReadOnly
	}
	// A loop device may be backed by a file of a repository.
	if err := refuseOwn(d.file); err != nil || d.readOnly || o.ForceInUse {
		return err
	}
	return o.System.Lock(d.file)
}

var errReadOnly = errors.New("it is read-only: look for a switch on it, or see 'blockdev --setrw'")

// isMeant returns an error unless the device has this serial number; "" matches any.
func (d *Device) isMeant(serial string) error {
	switch has := d.Identity.Serial; {
	case serial == "" || d.Identity.HasSerial(serial):
		return nil
	case has == "":
		return fmt.Errorf("it tells no serial number, and so cannot be the one with %q; leave out --serial where that is the device you mean", serial)
	default:
		return fmt.Errorf("it is another device than you mean: its serial number is %q, not %q", has, serial)
	}
}

// unused returns an error if an open device is in use or holds something to keep. The error says how to end that.
func unused(f *os.File, o DeviceOptions) error {
	for _, path := range slices.Sorted(maps.Keys(o.Keep)) {
		held, err := o.System.Holds(f, path)
		switch {
		case errors.Is(err, fs.ErrNotExist): // a missing path is on no device
		case err != nil:
			return err
		case held:
			return fmt.Errorf("%s is on it (%s)", o.Keep[path], path)
		}
	}
	return refuseUsed(f, o.System, o.ForceInUse)
}

// whyNot explains why a device could not be opened. The path may lead to another device by now; that is harmless, since
// nothing is written to it.
func whyNot(path string, o DeviceOptions, err error) error {
	f, lookErr := openToLook(path)
	if lookErr != nil {
		return err
	}
	defer f.Close()
	if info, statErr := f.Stat(); statErr != nil || info.Mode()&fs.ModeDevice == 0 {
		return err
	}
	if used := unused(f, o); used != nil {
		return used
	}
	switch {
	case isBusy(err):
		return fmt.Errorf("it is in use, by something that does not say so (ZFS, bcachefs, or another program that holds it): %w", err)
	case o.System.IsReadOnly(f):
		return errReadOnly
	}
	return err
}
