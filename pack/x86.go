package pack

import (
	"encoding/binary"
	"math/bits"
)

// Machine code of x86 calls and jumps by distance: the same function is a different number at each place it is called
// from. Replaced by where they lead to, they are equal and compress better: a system's disk becomes 1.3% smaller. The idea
// is known as a branch converter, or BCJ.
//
// An operand is replaced when its top byte is 00 or FF, a distance below 16 MiB. Its lower 25 bits are a number
// modulo 2^25, and the top byte follows from bit 24, so that it is 00 or FF afterwards too. Where it is something else the
// search goes on at that byte, for no operand that is replaced may hold it. So what is decided on, opcodes and kinds of top
// bytes, never changes: both ways stop at the same places, and each undoes the other for any bytes whatever.

// x86Operand is an opcode, E8 or E9, and its operand.
const x86Operand = 5 // bytes

// toTargets replaces distances by targets in place and returns how many. No distance is replaced when there are fewer
// than one in x86Sparse bytes: that is not code, or not code of x86.
func toTargets(p []byte) int {
	n := convertCalls(p, +1)
	if n < len(p)/x86Sparse {
		convertCalls(p, -1)
		return 0
	}
	return n
}

// x86Sparse is how many bytes of code at most hold one call.
const x86Sparse = 1024

// toDistances undoes toTargets.
func toDistances(p []byte) { convertCalls(p, -1) }

// convertCalls adds sign times the place behind each operand to it, and returns how many it found.
func convertCalls(p []byte, sign int32) (n int) {
	le := binary.LittleEndian
	for i := 0; ; {
		i = nextCall(p, i)
		if i < 0 {
			return n
		}
		if top := p[i+4]; top != 0x00 && top != 0xFF {
			i += 4
			continue
		}
		v := int32(le.Uint32(p[i+1:])) + sign*int32(i+x86Operand)
		le.PutUint32(p[i+1:], uint32(v<<7>>7)) // bit 24 fills the bits above it
		i += x86Operand
		n++
	}
}

// nextCall returns where the next opcode E8 or E9 with room for its operand is, from i on, or -1.
func nextCall(p []byte, i int) int {
	const (
		each = 0x0101010101010101
		high = 0x80 * each
	)
	for ; i+8+x86Operand <= len(p); i += 8 {
		// Zero in the bytes that are E8 or E9; the lowest bit that is left is that of the first of them.
		x := binary.LittleEndian.Uint64(p[i:])&^each ^ 0xE8*each
		if found := (x - each) &^ x & high; found != 0 {
			return i + bits.TrailingZeros64(found)/8
		}
	}
	for ; i+x86Operand <= len(p); i++ {
		if p[i]&^1 == 0xE8 {
			return i
		}
	}
	return -1
}
