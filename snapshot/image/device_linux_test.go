package image

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// A fakeSystem is a tree of files that resembles /sys, /proc and /run of a machine with disks.
type fakeSystem struct {
	System
	t *testing.T
}

func newFakeSystem(t *testing.T) fakeSystem {
	s := fakeSystem{System{t.TempDir()}, t}
	s.file("proc/self/mountinfo", "21 1 0:20 / /proc rw - proc proc rw\n")
	return s
}

func (s fakeSystem) file(path, content string) {
	s.t.Helper()
	path = s.at(path)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

func (s fakeSystem) link(path, to string) {
	s.t.Helper()
	path = s.at(path)
	err := os.MkdirAll(filepath.Dir(path), 0o700)
	if err == nil {
		err = os.Symlink(s.at(to), path)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// device adds a device. A device inside another's folder is its partition.
func (s fakeSystem) device(dir, no string) blockDev {
	s.t.Helper()
	dir = "sys/devices/" + dir
	s.file(dir+"/dev", no+"\n")
	if _, err := os.Stat(s.at(filepath.Dir(dir), "dev")); err == nil {
		s.file(dir+"/partition", "1\n")
	}
	s.link("sys/dev/block/"+no, dir)
	s.link("sys/class/block/"+filepath.Base(dir), dir)
	n, _ := parseDevno(no)
	dev, err := s.System.device(n)
	if err != nil {
		s.t.Fatal(err)
	}
	return dev
}

// stack makes upper a device built on lower.
func (s fakeSystem) stack(upper, lower string) {
	s.link("sys/devices/"+upper+"/slaves/"+filepath.Base(lower), "sys/devices/"+lower)
	s.link("sys/devices/"+lower+"/holders/"+filepath.Base(upper), "sys/devices/"+upper)
}

func TestIdentity(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string // in the disk's folder
		udev  string
		want  Identity
		also  string // another serial number of the disk
	}{
		"nothing": {},
		"nvme": {
			files: map[string]string{"device/model": "Samsung SSD 990 PRO 2TB                 \n", "device/serial": "S7KHNJ0W812345     \n", "wwid": "eui.002538b441b12345\n"},
			want:  Identity{Model: "Samsung SSD 990 PRO 2TB", Serial: "S7KHNJ0W812345", WWN: "eui.002538b441b12345"},
		},
		"virtio": {files: map[string]string{"serial": "vm-disk-1"}, want: Identity{Serial: "vm-disk-1"}},
		"sata": {
			files: map[string]string{
				"device/model": "WDC WD40EFRX-68N\n", "device/vpd_pg80": "\x00\x80\x00\x14     WD-WCC7K1234567",
				"device/wwid": "naa.50014ee2b1234567\n",
			},
			udev: "S:disk/by-id/x\nE:ID_SERIAL_SHORT=WD-WCC7K1234567\nE:ID_MODEL=WDC_WD40EFRX-68N32N0\n",
			want: Identity{Model: "WDC WD40EFRX-68N", Serial: "WD-WCC7K1234567", WWN: "naa.50014ee2b1234567"},
		},
		"usb": {
			files: map[string]string{"device/model": "Flash Disk\n", "device/wwid": "t10.Generic Flash Disk 99\n"},
			udev:  "E:ID_SERIAL_SHORT=0123456789ABCDEF\n",
			want:  Identity{Model: "Flash Disk", Serial: "0123456789ABCDEF"},
		},
		"sas": {
			files: map[string]string{"device/vpd_pg80": "\x00\x80\x00\x08ZC1A0001trailing"},
			udev:  "E:ID_SERIAL_SHORT=5000c500a1b2c3d4\nE:ID_SCSI_SERIAL=ZC1A0001\nE:ID_WWN=0x5000c500a1b2c3d4\n",
			want:  Identity{Serial: "ZC1A0001", WWN: "0x5000c500a1b2c3d4"},
			also:  "5000c500a1b2c3d4",
		},
		"sd card": {files: map[string]string{"device/name": "SD32G\n", "device/serial": "0xdeadbeef\n"}, want: Identity{Model: "SD32G", Serial: "0xdeadbeef"}},
		"short page": {
			files: map[string]string{"device/vpd_pg80": "\x00\x80"}, udev: "garbage\nE:\nE:ID_MODEL\n",
		},
		"escapes": {files: map[string]string{"serial": "a\x1b[2Jb"}, want: Identity{Serial: "a[2Jb"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newFakeSystem(t)
			s.device("pci/block/disk", "8:16")
			part := s.device("pci/block/disk/disk1", "8:17")
			for path, content := range c.files {
				s.file("sys/devices/pci/block/disk/"+path, content)
			}
			s.file("run/udev/data/b8:16", c.udev)
			var got Identity
			s.describe(part.disk(), &got)
			if (got.Serial != "") != got.HasSerial(got.Serial) || got.HasSerial("") || got.HasSerial("other") || c.also != "" && !got.HasSerial(c.also) {
				t.Errorf("it does not know its own serials: %+v", got)
			}
			if got.serials = nil; !reflect.DeepEqual(got, c.want) {
				t.Errorf("it says %+v, want %+v", got, c.want)
			}
		})
	}
}

// TestUses has a machine with one disk for each kind of use.
func TestUses(t *testing.T) {
	s := newFakeSystem(t)
	devs := map[string]blockDev{}
	for i, name := range strings.Fields("free plain member crypt pool1 pool2 loner paged elsewhere looped bcache1 bcache2") {
		devs[name] = s.device("pci/block/"+name, fmt.Sprintf("8:%d", 16*i))
		devs[name+"1"] = s.device(fmt.Sprintf("pci/block/%s/%s1", name, name), fmt.Sprintf("8:%d", 16*i+1))
	}
	s.device("virtual/block/md0", "9:0")
	s.stack("virtual/block/md0", "pci/block/member/member1")
	s.device("virtual/block/dm-3", "253:3")
	s.file("sys/devices/virtual/block/dm-3/dm/name", "home_crypt\n")
	s.file("sys/devices/virtual/block/dm-3/ro", "1\n")
	s.stack("virtual/block/dm-3", "pci/block/crypt")
	s.device("virtual/block/loop99", "7:99")
	s.file("sys/devices/virtual/block/loop99/loop/backing_file", "/dev/looped1\n")
	for _, name := range []string{"pool1", "pool2"} {
		s.link("sys/fs/btrfs/uuid/devices/"+name, "sys/devices/pci/block/"+name)
	}
	s.link("sys/fs/btrfs/other/devices/loner1", "sys/devices/pci/block/loner/loner1")
	s.file("proc/swaps", "Filename\tType\tSize\n/dev/paged1 partition 99 0 -2\n/swapfile file 1 0 -3\n")
	s.file("proc/self/mountinfo", strings.Join([]string{
		`21 1 0:20 / /proc rw - proc proc rw`,
		fmt.Sprintf(`22 1 %s / / rw shared:1 - ext4 /dev/root rw`, devs["plain1"].no),
		fmt.Sprintf(`23 1 %s /srv /srv/with\040space ro - ext4 /dev/root rw`, devs["plain1"].no),
		`24 1 0:44 /@ /data rw - btrfs /dev/pool1 ro,subvol=/@`,
		`25 1 0:45 / /cache rw - bcachefs /dev/bcache1:/dev/bcache21 rw`,
		`26 1 0:46 / /nas rw - nfs nas:/dev/free rw`,
		`damaged line`,
	}, "\n"))
	s.file("proc/77/mountinfo", fmt.Sprintf("9 1 %s / /mnt rw - xfs /dev/x ro\n", devs["elsewhere1"].no))
	s.link("proc/77/ns/mnt", "mnt:[2]")
	s.file("proc/78/mountinfo", "unseen, for it is of the same namespace")
	s.link("proc/78/ns/mnt", "mnt:[2]")

	mounted := func(dev, by string, rw bool) Use { return Use{UseMount, dev, by, rw} }
	for name, want := range map[string][]Use{
		"free":      nil,
		"free1":     nil,
		"plain":     {mounted("plain1", "/", true), mounted("plain1", "/srv/with space", true)},
		"plain1":    {mounted("plain1", "/", true), mounted("plain1", "/srv/with space", true)},
		"member":    {{UseHeld, "member1", "md0", true}},
		"crypt":     {{UseHeld, "crypt", "dm-3 (home_crypt)", false}},
		"crypt1":    {{UseHeld, "crypt", "dm-3 (home_crypt)", false}}, // its disk's use covers it
		"pool1":     {mounted("pool1", "/data", false)},
		"pool2":     {mounted("pool2", "/data", false)},
		"loner":     {mounted("loner1", "", true)},
		"paged":     {{UseSwap, "paged1", "", true}},
		"elsewhere": {mounted("elsewhere1", "/mnt", false)},
		"looped":    {{UseHeld, "looped1", "loop99", true}},
		"bcache1":   {mounted("bcache1", "/cache", true)},
		"bcache2":   {mounted("bcache21", "/cache", true)},
	} {
		got, err := s.usesOf(devs[name])
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: it says %v, want %v", name, got, want)
		}
	}
}

// TestBeneath follows a folder of the real machine down through made-up devices: ext4 on device-mapper on md on two
// partitions. Then it does so through a loop device and an overlay.
func TestBeneath(t *testing.T) {
	s := newFakeSystem(t)
	for i, name := range []string{"a", "b", "c"} {
		s.device("pci/block/sd"+name, fmt.Sprintf("8:%d", 16*i))
		s.device(fmt.Sprintf("pci/block/sd%s/sd%s1", name, name), fmt.Sprintf("8:%d", 16*i+1))
		s.device(fmt.Sprintf("pci/block/sd%s/sd%s2", name, name), fmt.Sprintf("8:%d", 16*i+2))
	}
	s.device("virtual/block/md0", "9:0")
	s.device("virtual/block/dm-0", "253:0")
	s.stack("virtual/block/dm-0", "virtual/block/md0")
	s.stack("virtual/block/md0", "pci/block/sda/sda1")
	s.stack("virtual/block/md0", "pci/block/sdb/sdb2")
	s.device("virtual/block/loop99", "7:99")

	folder := t.TempDir()
	here, err := System{}.mountOf(folder)
	if err != nil || here.id == "" {
		t.Fatalf("the folder of the test is in no mount: %+v, %v", here, err)
	}
	below := func(line string) string {
		s.file("proc/self/mountinfo", here.id+" "+line+"\n")
		got, err := s.beneath(folder)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for no := range got {
			if dev, err := s.System.device(no); err == nil {
				names = append(names, dev.name())
			}
		}
		slices.Sort(names)
		return strings.Join(names, " ")
	}
	all := "dm-0 md0 sda sda1 sdb sdb2"
	if got := below("1 253:0 / /backup rw - ext4 /dev/mapper/x rw"); got != all {
		t.Errorf("beneath a file system on device-mapper: %s", got)
	}
	if got := below("1 8:33 / /backup rw - ext4 /dev/sdc1 rw"); got != "sdc sdc1" {
		t.Errorf("beneath a partition: %s", got)
	}
	s.link("sys/fs/btrfs/uuid/devices/sdc1", "sys/devices/pci/block/sdc/sdc1")
	s.link("sys/fs/btrfs/uuid/devices/dm-0", "sys/devices/virtual/block/dm-0")
	if got := below("1 0:40 / /backup rw - btrfs /dev/sdc1 rw"); got != "dm-0 md0 sda sda1 sdb sdb2 sdc sdc1" {
		t.Errorf("beneath Btrfs: %s", got)
	}
	s.file("sys/devices/virtual/block/loop99/loop/backing_file", "/dev/sdc2\n")
	if got := below("1 7:99 / /backup rw - ext4 /dev/loop99 rw"); got != "loop99 sdc sdc2" {
		t.Errorf("beneath a loop device: %s", got)
	}
	if got := below("1 0:41 / /backup rw - nfs nas:/sda rw"); got != "" {
		t.Errorf("beneath a network file system: %s", got)
	}
}
