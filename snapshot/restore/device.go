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

// A Device is a block device that a disk is to be written onto. It is open exclusively: as long as it is, nobody can mount it,
// nor a partition of it, nor make another device of it.
//
// All that is known of it was asked of the open device, and all is written to it. Where its path leads by now, and what is
// plugged in under its name, makes no difference.
type Device struct {
	Path        string // as it was given
	Name        string // the kernel's, such as sdb
	Size        int64  // bytes
	Identity    image.Identity
	IsPartition bool

	file     *os.File
	readOnly bool
	unused   func() error // says what uses it now
}

// DeviceOptions say which device it has to be, and what must not be on it.
type DeviceOptions struct {
	System   image.System
	Serial   string            // of the device that is meant; "" for whichever it is
	Keep     map[string]string // files and folders, and what each of them is
	ReadOnly bool              // for a plan

	ForceInUse bool // write to it though programs have it open or locked
}

// IsDevice reports whether a path leads to something that OpenDevice is for.
func IsDevice(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode()&fs.ModeDevice != 0 && info.Mode()&fs.ModeCharDevice == 0 && devices
}

// OpenDevice opens a device to write onto. It refuses one that is used in any way, that is read-only, that something to be
// kept lies on, or that is not the one that is meant.
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

// Close lets go of the device.
func (d *Device) Close() error { return d.file.Close() }

// Anatomy returns what the device says of itself now: what would be lost.
func (d *Device) Anatomy() *anatomy.Disk {
	t := newDeviceTarget(d)
	defer t.Close()
	return anatomy.Read(t, d.Identity.SectorSize)
}

// look finds out what the open device is, and whether it may be written to.
func (d *Device) look(o DeviceOptions) error {
	info, err := d.file.Stat()
	if err != nil {
		return err
	}
	if info.Mode()&fs.ModeDevice == 0 || info.Mode()&fs.ModeCharDevice != 0 {
		return errors.New("it is no block device")
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
	if err := refuseOwn(d.file); err != nil || d.readOnly || o.ForceInUse { // it may be a loop device
		return err
	}
	return o.System.Lock(d.file)
}

var errReadOnly = errors.New("it is read-only: look for a switch on it, or see 'blockdev --setrw'")

// isMeant returns an error unless the device has a serial number; "" is any.
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

// unused returns an error that says what lies on an open device, or uses it, and how to end that.
func unused(f *os.File, o DeviceOptions) error {
	for _, path := range slices.Sorted(maps.Keys(o.Keep)) {
		held, err := o.System.Holds(f, path)
		switch {
		case errors.Is(err, fs.ErrNotExist): // then it is nowhere
		case err != nil:
			return err
		case held:
			return fmt.Errorf("%s is on it (%s)", o.Keep[path], path)
		}
	}
	return refuseUsed(f, o.System, o.ForceInUse)
}

// whyNot finds words for what kept a device from being opened. Which device that is is of no consequence: nothing is done
// to it.
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
