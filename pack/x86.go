package pack

import (
	"bytes"
	"encoding/binary"
)

// Calls and jumps in x86 machine code hold distances, so calls of one function differ from place to place. Replaced
// by their targets, they are equal and compress better: a system disk becomes 1.3% smaller. The method is known as a
// branch converter, or BCJ.
//
// An operand is replaced if its top byte is 00 or FF, which means a distance below 16 MiB. Its lower 25 bits are
// computed modulo 2^25, and the top byte is copied from bit 24, so that it is 00 or FF again. If the top byte is
// anything else, the search continues at that byte, because no replaced operand may contain it. So the bytes that
// decide, opcodes and the class of top bytes, never change. Both directions stop at the same places, and each undoes
// the other for any bytes.

// x86Operand is the length of an opcode, E8 or E9, and its operand.
const x86Operand = 5 // bytes

// toTargets replaces distances by targets in place and returns how many it replaced. It replaces none if there is
// less than one in x86Sparse bytes, or if there are almost as many different targets as distances: then the bytes are
// not x86 code. Tables of small numbers have as many of these opcodes as code, and conversion makes them larger.
func toTargets(p []byte) int {
	var distances, targets operands
	n := convertCalls(p, +1, &distances, &targets)
	if n < len(p)/x86Sparse || targets.n*10 > distances.n*9 {
		toDistances(p)
		return 0
	}
	return n
}

// x86Sparse is the number of bytes in which code has at least one call.
const x86Sparse = 1024

// toDistances undoes toTargets.
func toDistances(p []byte) { convertCalls(p, -1, nil, nil) }

// operands estimates the number of different operands. Of the ten thousand or so in a frame, few collide in the
// bitmap.
type operands struct {
	seen [1 << operandBits / 64]uint64
	n    int
}

const operandBits = 18

func (o *operands) add(v uint32) {
	h := v * 2654435761 >> (32 - operandBits) // multiplication by the golden ratio spreads neighbours
	if bit := uint64(1) << (h % 64); o.seen[h/64]&bit == 0 {
		o.seen[h/64] |= bit
		o.n++
	}
}

// convertCalls adds sign times the end of each operand to the operand, and returns how many it found. Unless before
// is nil, it counts the different operands before and after.
func convertCalls(p []byte, sign int32, before, after *operands) (n int) {
	le := binary.LittleEndian
	call, jump := opcodes{p: p, code: 0xE8, at: -1}, opcodes{p: p, code: 0xE9, at: -1}
	for i := 0; ; {
		i = min(call.from(i), jump.from(i))
		if i+x86Operand > len(p) {
			return n
		}
		if top := p[i+4]; top != 0x00 && top != 0xFF {
			i += 4
			continue
		}
		was := int32(le.Uint32(p[i+1:]))
		v := (was + sign*int32(i+x86Operand)) << 7 >> 7 // bit 24 fills the bits above it
		le.PutUint32(p[i+1:], uint32(v))
		if before != nil {
			before.add(uint32(was))
			after.add(uint32(v))
		}
		i += x86Operand
		n++
	}
}

// opcodes finds the occurrences of one opcode in turn. The bytes up to the found one do not change meanwhile, except
// for bytes that were already passed.
type opcodes struct {
	p    []byte
	code byte
	at   int // the first one at or after the last position asked for
}

// from returns the position of the first one at or after i, or len(p). i never decreases.
func (o *opcodes) from(i int) int {
	if o.at < i {
		n := bytes.IndexByte(o.p[min(i, len(o.p)):], o.code)
		if n < 0 {
			n = len(o.p)
		}
		o.at = i + n
	}
	return o.at
}
