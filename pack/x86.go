package pack

import (
	"bytes"
	"encoding/binary"
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
// than one in x86Sparse bytes, or when the targets are hardly fewer than the distances: that is not code of x86. Tables
// of small numbers hold as many of these bytes as code does, and become larger when they are converted.
func toTargets(p []byte) int {
	var distances, targets operands
	n := convertCalls(p, +1, &distances, &targets)
	if n < len(p)/x86Sparse || targets.n*10 > distances.n*9 {
		toDistances(p)
		return 0
	}
	return n
}

// x86Sparse is how many bytes of code at most hold one call.
const x86Sparse = 1024

// toDistances undoes toTargets.
func toDistances(p []byte) { convertCalls(p, -1, nil, nil) }

// operands counts different operands, nearly: few of the some ten thousand in a frame have the same place in it.
type operands struct {
	seen [1 << operandBits / 64]uint64
	n    int
}

const operandBits = 18

func (o *operands) add(v uint32) {
	h := v * 2654435761 >> (32 - operandBits) // the golden ratio's multiple spreads neighbours
	if bit := uint64(1) << (h % 64); o.seen[h/64]&bit == 0 {
		o.seen[h/64] |= bit
		o.n++
	}
}

// convertCalls adds sign times the place behind each operand to it, and returns how many it found. It counts different
// operands as they were and as they are now, unless before is nil.
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

// opcodes finds one opcode again and again. What lies before the place that was found does not change meanwhile, but for
// bytes that nobody asks for any more.
type opcodes struct {
	p    []byte
	code byte
	at   int // the first one from where it was last looked for
}

// from returns where the first is from i on, or the end. i never goes back.
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
