package chunk

import "encoding/binary"

// Block is the grain of cuts and of zero runs: every cut lies on a multiple of it, or at the disk's end. File systems
// place their files by it, so the same file on another disk is cut the same.
const Block = 4096 // bytes

// IsZero reports whether all of p is zero.
func IsZero(p []byte) bool { return ZeroPrefix(p) == len(p) }

// ZeroPrefix returns how many bytes at the start of p are zero.
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

// zeroBlocks returns how many bytes at the start of p are blocks wholly of zeros. A short last block counts when p
// ends with it and all of it is zero.
func zeroBlocks(p []byte) int {
	n := ZeroPrefix(p)
	if n == len(p) {
		return n
	}
	return n &^ (Block - 1)
}
