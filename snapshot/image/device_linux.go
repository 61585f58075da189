package image

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A devno is a device number. It names a device only as long as the device exists.
type devno struct{ major, minor uint32 }

func (n devno) String() string { return fmt.Sprintf("%d:%d", n.major, n.minor) }

func parseDevno(s string) (n devno, ok bool) {
	_, err := fmt.Sscanf(strings.TrimSpace(s), "%d:%d", &n.major, &n.minor)
	return n, err == nil
}

// blockDevno returns the number of an open block device; false for anything else.
func blockDevno(f *os.File) (devno, bool) {
	var st unix.Stat_t
	if again(func() error { return unix.Fstat(int(f.Fd()), &st) }) != nil {
		return devno{}, false
	}
	return statDevno(&st)
}

// pathDevno is blockDevno for a path found in system files.
func pathDevno(path string) (devno, bool) {
	var st unix.Stat_t
	if again(func() error { return unix.Stat(path, &st) }) != nil {
		return devno{}, false
	}
	return statDevno(&st)
}

func statDevno(st *unix.Stat_t) (devno, bool) {
	rdev := uint64(st.Rdev)
	return devno{unix.Major(rdev), unix.Minor(rdev)}, st.Mode&unix.S_IFMT == unix.S_IFBLK
}

// A blockDev is a device in sysfs.
type blockDev struct {
	no  devno
	dir string // without links, so a partition's is inside its disk's
}

func (s System) device(no devno) (blockDev, error) {
	dir, err := filepath.EvalSymlinks(s.at("sys/dev/block", no.String()))
	if err != nil {
		return blockDev{}, err
	}
	return blockDev{no, dir}, nil
}

// deviceIn returns the device that a link in sysfs leads to.
func deviceIn(link string) (blockDev, bool) {
	dir, err := filepath.EvalSymlinks(link)
	if err != nil {
		return blockDev{}, false
	}
	no, ok := parseDevno(readLine(filepath.Join(dir, "dev")))
	return blockDev{no, dir}, ok
}

// at returns a path below the system's root.
func (s System) at(elem ...string) string {
	return filepath.Join(append([]string{cmp.Or(s.Root, "/")}, elem...)...)
}

// name returns the device's name below /dev.
func (d blockDev) name() string { return strings.ReplaceAll(filepath.Base(d.dir), "!", "/") }

// title returns the name, and the device-mapper name if it has one.
func (d blockDev) title() string {
	if name := d.attr("dm/name"); name != "" {
		return fmt.Sprintf("%s (%s)", d.name(), name)
	}
	return d.name()
}

// attr returns the first line of one of the device's files; "" if there is none.
func (d blockDev) attr(name string) string { return readLine(filepath.Join(d.dir, name)) }

func (d blockDev) isPartition() bool { return d.attr("partition") != "" }

// disk returns the disk of a partition; for any other device, itself.
func (d blockDev) disk() blockDev {
	if disk, ok := deviceIn(filepath.Dir(d.dir)); ok && d.isPartition() {
		return disk
	}
	return d
}

// family returns the device, its partitions, and its disk.
func (d blockDev) family() []blockDev {
	all := []blockDev{d}
	if disk := d.disk(); disk != d {
		all = append(all, disk)
	}
	entries, _ := os.ReadDir(d.dir) // a device removed meanwhile has no partitions
	for _, e := range entries {
		if part, ok := deviceIn(filepath.Join(d.dir, e.Name())); ok && part.isPartition() && part.dir != d.dir {
			all = append(all, part)
		}
	}
	return all
}

// linked returns the devices in a folder of links: slaves or holders.
func (d blockDev) linked(folder string) (all []blockDev) {
	entries, _ := os.ReadDir(filepath.Join(d.dir, folder))
	for _, e := range entries {
		if dev, ok := deviceIn(filepath.Join(d.dir, folder, e.Name())); ok {
			all = append(all, dev)
		}
	}
	return all
}

func readLine(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	line, _, _ := bytes.Cut(data, []byte("\n"))
	return strings.TrimSpace(string(bytes.TrimRight(line, "\x00")))
}

func (s System) identity(f *os.File) (id Identity) {
	no, ok := blockDevno(f)
	if !ok {
		return id
	}
	if n, err := unix.IoctlGetUint32(int(f.Fd()), unix.BLKSSZGET); err == nil {
		id.SectorSize = int64(n)
	}
	if n, err := unix.IoctlGetUint32(int(f.Fd()), unix.BLKPBSZGET); err == nil {
		id.PhysicalSectorSize = int64(n)
	}
	if dev, err := s.device(no); err == nil {
		s.describe(dev.disk(), &id)
		dev.locate(&id)
	}
	return id
}

// locate fills in the partition number, and the place of its disk. Loop and device-mapper devices get new numbers each
// time, so their names identify nothing.
func (d blockDev) locate(id *Identity) {
	disk := d.disk()
	id.Partition, _ = strconv.Atoi(d.attr("partition"))
	id.Removable = disk.attr("removable") == "1"
	if name := disk.attr("dm/name"); name != "" {
		id.Place = "/dev/mapper/" + name
	}
	if file := disk.attr("loop/backing_file"); file != "" {
		id.Place = file
		if off := disk.attr("loop/offset"); off != "" && off != "0" {
			id.Place += "+" + off
		}
	}
}

// describe fills in what sysfs and udev record about a disk.
func (s System) describe(disk blockDev, id *Identity) {
	udev := s.udev(disk.no)
	id.Model = firstOf(disk.attr("device/model"), disk.attr("device/name"), strings.ReplaceAll(udev["ID_MODEL"], "_", " "))
	id.serials = slices.DeleteFunc([]string{
		disk.attr("serial"), // virtio
		disk.attr("device/serial"),
		unitSerial(filepath.Join(disk.dir, "device/vpd_pg80")), // SCSI, and ATA through SCSI
		udev["ID_SCSI_SERIAL"],
		udev["ID_SERIAL_SHORT"],
	}, func(s string) bool { return s == "" })
	id.Serial = firstOf(id.serials...)
	id.WWN = firstOf(worldWide(disk.attr("wwid")), worldWide(disk.attr("device/wwid")), udev["ID_WWN_WITH_EXTENSION"], udev["ID_WWN"])
}

// firstOf returns the first string that is not empty, without control characters: a device may report anything, and
// those would move the terminal's cursor.
func firstOf(all ...string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f {
			return -1
		}
		return c
	}, cmp.Or(all...))
}

// worldWide returns wwid, but "" if it is only made up of vendor, model and serial number (t10).
func worldWide(wwid string) string {
	for _, prefix := range []string{"naa.", "eui.", "uuid.", "nvme."} {
		if strings.HasPrefix(wwid, prefix) {
			return wwid
		}
	}
	return ""
}

// unitSerial reads SCSI's "unit serial number" page: four bytes, the last two of them a length, then the number.
func unitSerial(path string) string {
	page, err := os.ReadFile(path)
	if err != nil || len(page) < 4 {
		return ""
	}
	n := int(page[2])<<8 | int(page[3])
	return strings.TrimSpace(strings.Trim(string(page[4:4+min(n, len(page)-4)]), "\x00"))
}

// udev returns what udev recorded about a device when it queried it.
func (s System) udev(no devno) map[string]string {
	known := map[string]string{}
	f, err := os.Open(s.at("run/udev/data", "b"+no.String()))
	if err != nil {
		return known
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if property, ok := strings.CutPrefix(lines.Text(), "E:"); ok {
			key, value, _ := strings.Cut(property, "=")
			known[key] = strings.TrimSpace(value)
		}
	}
	return known
}

// open returns the device of an open file; false if it is not a device or sysfs does not have it.
func (s System) open(f *os.File) (blockDev, bool) {
	no, ok := blockDevno(f)
	if !ok {
		return blockDev{}, false
	}
	dev, err := s.device(no)
	return dev, err == nil
}

func (s System) name(f *os.File) string {
	if dev, ok := s.open(f); ok {
		return dev.name()
	}
	return ""
}

func (s System) isPartition(f *os.File) bool {
	dev, ok := s.open(f)
	return ok && dev.isPartition()
}

func (s System) isReadOnly(f *os.File) bool {
	if n, err := unix.IoctlGetUint32(int(f.Fd()), unix.BLKROGET); err == nil && n != 0 {
		return true
	}
	dev, ok := s.open(f)
	return ok && dev.attr("ro") == "1"
}
