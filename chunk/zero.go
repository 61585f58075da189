package chunk

import "encoding/binary"

// Block is the granularity of cuts and zero runs: every cut is at a multiple of it, or at the disk's end. File
// systems align files to it, so the same file is cut the same way on another disk.
const Block = 4096 // bytes

// IsZero reports whether all of p is zero.
func IsZero(p []byte) bool { return ZeroPrefix(p) == len(p) }

// ZeroPrefix returns the number of zero bytes at the start of p.
func ZeroPrefix(p []byte) int {
	i := 0
	for ; len(p)-i >= 64; i += 64 {
		q := p[i : i+64 : i+64]
		if binary.LittleEndian.Uint64(q)|binary.LittleEndian.Uint64(q[8:])|
			binary.LittleEndian.Uint64(q[16:])|binary.LittleEndian.Uint64(q[24:])|
			binary.LittleEndian.Uint64(q[32:])|binary.LittleEndian.Uint64(q[40:])|
			binary.LittleEndian.Uint64(q[48:])|binary.LittleEndian.Uint64(q[56:]) != 0 {
			break
		}
	}
	for i < len(p) && p[i] == 0 {
		i++
	}
	return i
}

// zeroBlocks returns the length of the zero blocks at the start of p, in bytes. A short last block counts if p ends
// with it.
func zeroBlocks(p []byte) int {
	n := ZeroPrefix(p)
	if n == len(p) {
		return n
	}
	return n &^ (Block - 1)
}
