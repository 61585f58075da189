package image

import (
	"cmp"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

func (s System) uses(f *os.File) ([]Use, error) {
	no, ok := blockDevno(f)
	if !ok {
		return s.usesOfFile(f)
	}
	dev, err := s.device(no)
	if err != nil {
		return nil, err
	}
	return s.usesOf(dev)
}

func (s System) usesOf(dev blockDev) ([]Use, error) {
	mounts, err := s.mounts()
	if err != nil {
		return nil, err
	}
	var uses []Use
	for _, dev := range dev.family() {
		found := s.mountsOf(dev, mounts)
		if s.isSwap(dev) {
			found = append(found, Use{Kind: UseSwap, Device: dev.name(), Writable: true})
		}
		for _, holder := range append(dev.linked("holders"), s.loopsOn(dev)...) {
			found = append(found, Use{Kind: UseHeld, Device: dev.name(), By: holder.title(), Writable: holder.attr("ro") != "1"})
		}
		uses = append(uses, found...)
	}
	return uses, nil
}

// A mount is a line of mountinfo.
type mount struct {
	id       string
	no       devno // major 0 for a file system on no device or on several
	point    string
	kind     string // of file system
	source   string
	options  string // of the file system
	writable bool   // through any of its mounts
}

// mounts returns the mounts of every mount namespace that this process may inspect.
func (s System) mounts() ([]mount, error) {
	all, err := readMounts(s.at("proc/self/mountinfo"))
	if err != nil {
		return nil, err
	}
	processes, err := os.ReadDir(s.at("proc"))
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	for _, p := range processes {
		if _, err := strconv.Atoi(p.Name()); err != nil {
			continue
		}
		// The mounts that a process sees depend on its namespace and its root. Processes that end meanwhile, or that
		// this user may not inspect, are skipped.
		space, _ := os.Readlink(s.at("proc", p.Name(), "ns/mnt"))
		root, _ := os.Readlink(s.at("proc", p.Name(), "root"))
		if key := space + " " + root; space == "" || seen[key] {
			continue
		} else {
			seen[key] = true
		}
		more, err := readMounts(s.at("proc", p.Name(), "mountinfo"))
		if err == nil {
			all = append(all, more...)
		}
	}
	return all, nil
}

// readMounts reads lines such as
//
//	36 35 8:1 /mnt1 /mnt2 rw,noatime master:1 - ext4 /dev/sda1 rw,errors=continue
func readMounts(path string) (all []mount, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(data)) {
		before, after, _ := strings.Cut(line, " - ")
		left, right := strings.Fields(before), strings.Fields(after)
		if len(left) < 6 || len(right) < 3 {
			continue
		}
		no, ok := parseDevno(left[2])
		if !ok {
			continue
		}
		all = append(all, mount{
			id: left[0], no: no, point: unescape(left[4]), kind: right[0], source: unescape(right[1]), options: unescape(right[2]),
			writable: slices.Contains(strings.Split(right[2], ","), "rw"),
		})
	}
	return all, nil
}

// unescape undoes the kernel's octal escapes of spaces, tabs, line breaks and backslashes, such as \040.
func unescape(s string) string {
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+4 <= len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				out.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		out.WriteByte(s[i])
	}
	return out.String()
}

// mountsOf returns the mounts of a device, each mount point once.
func (s System) mountsOf(dev blockDev, mounts []mount) (uses []Use) {
	pool := s.btrfsPool(dev)
	for _, m := range mounts {
		if slices.Contains(s.devicesOf(m), dev.no) {
			uses = append(uses, Use{Kind: UseMount, Device: dev.name(), By: m.point, Writable: m.writable})
		}
	}
	if len(uses) == 0 && len(pool) > 0 { // mounted in a namespace that this user may not inspect
		uses = append(uses, Use{Kind: UseMount, Device: dev.name(), Writable: true})
	}
	slices.SortFunc(uses, func(a, b Use) int { return cmp.Compare(a.By, b.By) })
	return slices.Compact(uses)
}

// devicesOf returns the devices of a mounted file system.
func (s System) devicesOf(m mount) []devno {
	if m.no.major != 0 {
		return []devno{m.no}
	}
	// Btrfs and bcachefs have synthetic device numbers. The source of a bcachefs mount names all its devices, that of
	// Btrfs one.
	sources := []string{m.source}
	if m.kind == "bcachefs" {
		sources = strings.Split(m.source, ":")
	}
	var all []devno
	for _, source := range sources {
		dev, ok := s.named(source)
		if !ok {
			continue
		}
		all = append(all, dev.no)
		if m.kind == "btrfs" {
			all = append(all, s.btrfsPool(dev)...)
		}
	}
	return all
}

// named returns the device with a path below /dev.
func (s System) named(path string) (blockDev, bool) {
	if !strings.HasPrefix(path, "/") {
		return blockDev{}, false
	}
	if no, ok := pathDevno(s.at(path)); ok {
		dev, err := s.device(no)
		return dev, err == nil
	}
	// The path may exist only in another namespace. The kernel's own names are the same in all.
	name, ok := strings.CutPrefix(path, "/dev/")
	if !ok {
		return blockDev{}, false
	}
	return deviceIn(s.at("sys/class/block", strings.ReplaceAll(name, "/", "!")))
}

// btrfsPool returns all devices of the mounted Btrfs that includes dev.
func (s System) btrfsPool(dev blockDev) []devno {
	pools, _ := filepath.Glob(s.at("sys/fs/btrfs/*/devices"))
	for _, pool := range pools {
		var all []devno
		entries, _ := os.ReadDir(pool)
		for _, e := range entries {
			if member, ok := deviceIn(filepath.Join(pool, e.Name())); ok {
				all = append(all, member.no)
			}
		}
		if slices.Contains(all, dev.no) {
			return all
		}
	}
	return nil
}

func (s System) isSwap(dev blockDev) bool {
	return slices.ContainsFunc(s.swaps(), func(path string) bool {
		swap, ok := s.named(path)
		return ok && swap.no == dev.no
	})
}

// swaps returns the devices and files used as swap space.
func (s System) swaps() (paths []string) {
	data, err := os.ReadFile(s.at("proc/swaps"))
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(data)) {
		path, _, _ := strings.Cut(strings.ReplaceAll(line, "\t", " "), " ")
		if path = unescape(path); strings.HasPrefix(path, "/") {
			paths = append(paths, path)
		}
	}
	return paths
}
