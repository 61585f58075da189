package restore

import (
	"math"
	"os"

	"golang.org/x/sys/unix"
)

// exfatMagic is exFAT's number in statfs, which package unix does not have.
const exfatMagic = 0x2011bab0

// roomOf returns the free space of an open file's file system.
func roomOf(f *os.File) room {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &fs); err != nil || fs.Blocks == 0 || fs.Bsize <= 0 {
		return room{}
	}
	blocks := fs.Bavail
	if os.Geteuid() == 0 { // root may use the reserved blocks
		blocks = fs.Bfree
	}
	r := room{known: true, free: math.MaxInt64}
	if bsize := uint64(fs.Bsize); blocks <= math.MaxInt64/bsize {
		r.free = int64(blocks * bsize)
	}
	switch uint32(fs.Type) {
	case unix.MSDOS_SUPER_MAGIC, exfatMagic:
		r.plain, r.dense = true, true
	case unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.TMPFS_MAGIC:
		r.plain = true
	}
	return r
}

// allocatedTo returns how many bytes an open file occupies on its file system.
func allocatedTo(f *os.File) int64 {
	var st unix.Stat_t
	if unix.Fstat(int(f.Fd()), &st) != nil {
		return 0
	}
	return st.Blocks * 512
}
