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

// A fileID names a file as long as it is there, by whatever names it goes: hard links, links, bind mounts.
type fileID struct {
	dev devno // of the file system
	ino uint64
}

func idOf(st *unix.Stat_t) fileID {
	dev := uint64(st.Dev)
	return fileID{devno{unix.Major(dev), unix.Minor(dev)}, st.Ino}
}

// regularID returns the id of a regular file; false for anything else.
func regularID(f *os.File) (fileID, bool) {
	var st unix.Stat_t
	if unix.Fstat(int(f.Fd()), &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return fileID{}, false
	}
	return idOf(&st), true
}

// pathID is regularID by a path, for those that others name.
func pathID(path string) (fileID, bool) {
	var st unix.Stat_t
	if unix.Stat(path, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG {
		return fileID{}, false
	}
	return idOf(&st), true
}

// usesOfFile returns what the system uses a regular file for: the innermost use first, which has to end first.
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

// mountsOfFile returns where a file is mounted without a loop device between: EROFS can, and FUSE's programs name it so.
func (s System) mountsOfFile(id fileID, name string) (uses []Use, err error) {
	mounts, err := s.mounts()
	if errors.Is(err, fs.ErrNotExist) { // there is no /proc
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

// A loop is a loop device that is in use.
type loop struct {
	blockDev
	backing
}

// A backing is what a loop device's bytes are: a device or a file.
type backing struct {
	device devno // zero for a file
	file   fileID
	path   string
}

// loops returns the loop devices that are in use, sorted by name.
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

// loopsOn returns the loop devices that a device is the file of, which the kernel does not count as holders.
func (s System) loopsOn(dev blockDev) (all []blockDev) {
	for _, loop := range s.loops() {
		if loop.device == dev.no {
			all = append(all, loop.blockDev)
		}
	}
	return all
}

// backing returns what is behind a loop device; false where nothing is. By its path alone it is not known: that may be of
// another namespace, or lead elsewhere by now. The device itself knows, and tells those who may open it.
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
