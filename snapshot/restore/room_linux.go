package restore

import (
	"math"
	"os"

	"golang.org/x/sys/unix"
)

// Kinds of file systems, as statfs numbers them, that unix has no names for.
const exfatMagic = 0x2011bab0

// roomOf returns what an open file's file system has left.
func roomOf(f *os.File) room {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &fs); err != nil || fs.Blocks == 0 || fs.Bsize <= 0 {
		return room{}
	}
	blocks := fs.Bavail
	if os.Geteuid() == 0 { // who may use what is reserved
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

// allocatedTo returns how many bytes of its file system an open file takes.
func allocatedTo(f *os.File) int64 {
	var st unix.Stat_t
	if unix.Fstat(int(f.Fd()), &st) != nil {
		return 0
	}
	return st.Blocks * 512
}
