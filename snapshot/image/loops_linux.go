package image

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// A fileID identifies a file as long as it exists, under all its names: hard links, symbolic links, bind mounts.
type fileID struct {
	dev devno // of the file system
	ino uint64
}

func idOf(st *unix.Stat_t) fileID {
	dev := uint64(st.Dev)
	return fileID{devno{unix.Major(dev), unix.Minor(dev)}, st.Ino}
}

// regularID returns the ID of a regular file; false for anything else.
func regularID(f *os.File) (fileID, bool) {
	var st unix.Stat_t
	if unix.Fstat(int(f.Fd()), &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return fileID{}, false
	}
	return idOf(&st), true
}

// pathID is regularID for a path found in system files.
func pathID(path string) (fileID, bool) {
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return fileID{}, false
	}
	return idOf(&st), true
}

// usesOfFile returns the system's uses of a regular file, innermost first: that use must end first.
func (s System) usesOfFile(f *os.File) (uses []Use, err error) {
	id, ok := regularID(f)
	if !ok {
		return nil, nil
	}
	for _, loop := range s.loops() {
		if loop.file != id {
			continue
		}
		on, err := s.usesOf(loop.blockDev)
		if err != nil {
			return nil, err
		}
		uses = append(append(uses, on...), Use{Kind: UseHeld, Device: f.Name(), By: loop.title(), Writable: loop.attr("ro") != "1"})
	}
	mounted, err := s.mountsOfFile(id, f.Name())
	if err != nil {
		return nil, err
	}
	uses = append(uses, mounted...)
	for _, path := range s.swaps() {
		if swap, ok := pathID(s.at(path)); ok && swap == id {
			uses = append(uses, Use{Kind: UseSwap, Device: f.Name(), Writable: true})
		}
	}
	return uses, nil
}

// mountsOfFile returns where a file is mounted without a loop device. EROFS can do that, and FUSE programs give the
// file as the source.
func (s System) mountsOfFile(id fileID, name string) (uses []Use, err error) {
	mounts, err := s.mounts()
	if errors.Is(err, fs.ErrNotExist) { // no /proc
		return nil, nil
	}
	for _, m := range mounts {
		if !strings.HasPrefix(m.source, "/") || strings.HasPrefix(m.source, "/dev/") {
			continue
		}
		use := Use{Kind: UseMount, Device: name, By: m.point, Writable: m.writable}
		if source, ok := pathID(s.at(m.source)); ok && source == id && !slices.Contains(uses, use) {
			uses = append(uses, use)
		}
	}
	return uses, err
}

// A loop is a loop device in use.
type loop struct {
	blockDev
	backing
}

// A backing is the device or file behind a loop device.
type backing struct {
	device devno // zero for a file
	file   fileID
	path   string
}

// loops returns the loop devices in use, sorted by name.
func (s System) loops() (all []loop) {
	found, _ := filepath.Glob(s.at("sys/class/block/loop*"))
	for _, link := range found {
		dev, ok := deviceIn(link)
		if !ok || dev.isPartition() {
			continue
		}
		if b, ok := s.backing(dev); ok {
			all = append(all, loop{dev, b})
		}
	}
	return all
}

// loopsOn returns the loop devices backed by a device. The kernel does not list them as holders.
func (s System) loopsOn(dev blockDev) (all []blockDev) {
	for _, loop := range s.loops() {
		if loop.device == dev.no {
			all = append(all, loop.blockDev)
		}
	}
	return all
}

// backing returns what is behind a loop device; false if nothing. The path alone is not reliable: it may be of another
// namespace, or lead elsewhere by now. The loop device itself knows, if this user may open it.
func (s System) backing(loop blockDev) (backing, bool) {
	b := backing{path: loop.attr("loop/backing_file")}
	if b.path == "" {
		return b, false
	}
	if f, err := os.Open(s.at("dev", loop.name())); err == nil {
		info, err := unix.IoctlLoopGetStatus64(int(f.Fd()))
		_ = f.Close()
		if err == nil {
			b.device = devno{unix.Major(info.Rdevice), unix.Minor(info.Rdevice)}
			b.file = fileID{devno{unix.Major(info.Device), unix.Minor(info.Device)}, info.Inode}
			return b, true
		}
	}
	if dev, ok := s.named(b.path); ok {
		b.device = dev.no
	} else {
		b.file, _ = pathID(s.at(b.path))
	}
	return b, true
}
