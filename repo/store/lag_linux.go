package store

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// localKinds are file systems that only this machine's kernel changes.
var localKinds = map[int64]bool{
	unix.EXT4_SUPER_MAGIC: true, unix.XFS_SUPER_MAGIC: true, unix.BTRFS_SUPER_MAGIC: true, unix.F2FS_SUPER_MAGIC: true,
	unix.TMPFS_MAGIC: true, unix.RAMFS_MAGIC: true, unix.OVERLAYFS_SUPER_MAGIC: true, unix.MSDOS_SUPER_MAGIC: true,
	unix.EXFAT_SUPER_MAGIC: true, unix.NILFS_SUPER_MAGIC: true, unix.REISERFS_SUPER_MAGIC: true,
	0x2fc12fc1: true, // ZFS
	0x7366746e: true, // NTFS3
	0x3153464a: true, // JFS
	0xca451a4e: true, // bcachefs
}

// forgetful are FUSE file systems that cache no listings, or drop the cached listing of a folder that this machine
// changes. Nothing is known about the others: rclone, for example, continues to show a listing that is minutes old.
var forgetful = map[string]bool{
	"fuse.sshfs": true, "fuse.mergerfs": true, "fuse.gocryptfs": true, "fuse.encfs": true, "fuse.cryfs": true,
	"fuse.bindfs": true, "fuse.shfs": true, "fuse.ceph-fuse": true,
}

func lagOf(root string) Lag {
	var s unix.Statfs_t
	if unix.Statfs(root, &s) != nil || localKinds[int64(s.Type)&0xffffffff] {
		return Lag{}
	}
	return mountOf(root).lag(int64(s.Type)&0xffffffff == unix.FUSE_SUPER_MAGIC)
}

// A mount is a mount as the kernel describes it.
type mount struct {
	kind    string // of file system; FUSE file systems append theirs after a dot
	options string // of the file system, joined by commas
}

// mountOf returns the mount that holds a folder; an empty one if it is not found.
func mountOf(root string) mount {
	var info unix.Stat_t
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || unix.Stat(root, &info) != nil {
		return mount{}
	}
	return findMount(string(table), fmt.Sprintf("%d:%d", unix.Major(info.Dev), unix.Minor(info.Dev)))
}

// findMount returns the mount of a device, MAJOR:MINOR, in a table in the format of mountinfo; see proc(5).
func findMount(table, device string) mount {
	for line := range strings.Lines(table) {
		head, tail, ok := strings.Cut(strings.TrimSpace(line), " - ")
		fields, of := strings.Fields(head), strings.Fields(tail)
		if ok && len(fields) > 2 && fields[2] == device && len(of) > 2 {
			return mount{of[0], of[2]}
		}
	}
	return mount{}
}

// lag returns the maximum age of a listing, by the file system's type and options.
func (m mount) lag(fuse bool) Lag {
	switch {
	case m.kind == "fuseblk": // on a disk of this machine
		return Lag{}
	case fuse && !forgetful[m.kind]:
		if m.kind == "" {
			m.kind = "fuse"
		}
		return Lag{Unknown: m.kind}
	}
	longest := remoteLag
	for option := range strings.SplitSeq(m.options, ",") {
		name, value, _ := strings.Cut(option, "=")
		seconds, err := strconv.ParseUint(value, 10, 31)
		if err == nil && (name == "acdirmax" || name == "actimeo") {
			longest = max(longest, time.Duration(seconds)*time.Second)
		}
	}
	return Lag{Time: longest}
}
