package image

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// holds reports whether a path is on an open device.
func (s System) holds(f *os.File, path string) (bool, error) {
	no, ok := blockDevno(f)
	if !ok {
		return false, nil
	}
	devices, err := s.beneath(path)
	return devices[no], err
}

// beneath returns all devices beneath a path.
func (s System) beneath(path string) (map[devno]bool, error) {
	b := beneath{system: s, devices: map[devno]bool{}, paths: map[string]bool{}}
	err := b.path(path)
	return b.devices, err
}

// A beneath collects the devices beneath a path, down to the disks.
type beneath struct {
	system  System
	devices map[devno]bool
	paths   map[string]bool
}

func (b *beneath) path(path string) error {
	if b.paths[path] {
		return nil
	}
	b.paths[path] = true
	m, err := b.system.mountOf(path)
	if err != nil {
		return err
	}
	for _, no := range b.system.devicesOf(m) {
		b.device(no)
	}
	if m.kind != "overlay" {
		return nil
	}
	for option := range strings.SplitSeq(m.options, ",") {
		key, dirs, _ := strings.Cut(option, "=")
		if key != "lowerdir" && key != "upperdir" && !strings.HasPrefix(key, "lowerdir") {
			continue
		}
		for dir := range strings.SplitSeq(dirs, ":") {
			// The options name the layers by their paths at the time of the mount. A path that no longer exists cannot
			// be followed.
			if err := b.path(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

func (b *beneath) device(no devno) {
	if b.devices[no] {
		return
	}
	b.devices[no] = true
	dev, err := b.system.device(no)
	if err != nil {
		return
	}
	b.device(dev.disk().no)
	for _, slave := range dev.linked("slaves") {
		b.device(slave.no)
	}
	if behind, ok := b.system.backing(dev); ok {
		if behind.device != (devno{}) {
			b.device(behind.device)
		} else {
			_ = b.path(behind.path) // a deleted file, or a path of another namespace, cannot be followed
		}
	}
}

// mountOf returns the mount that a path is in. The path's device number does not identify it: a Btrfs subvolume has
// another number than its mount.
func (s System) mountOf(path string) (mount, error) {
	f, err := os.OpenFile(path, unix.O_PATH, 0)
	if err != nil {
		return mount{}, err
	}
	defer f.Close()
	info, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", f.Fd()))
	if err != nil {
		return mount{}, err
	}
	_, after, _ := strings.Cut(string(info), "mnt_id:")
	fields := strings.Fields(after)
	mounts, err := readMounts(s.at("proc/self/mountinfo"))
	if err != nil {
		return mount{}, err
	}
	for _, m := range mounts {
		if len(fields) > 0 && m.id == fields[0] {
			return m, nil
		}
	}
	return mount{}, nil // outside this process's root
}
