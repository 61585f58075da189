package pack

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	mathrand "math/rand/v2"
	"slices"
	"testing"

	"platter/chunk"
)

// benchFrame is the usual length of a frame's chunks.
const benchFrame = 1 << 20

// A benchContent is a frame's worth of one sort of data.
type benchContent struct {
	name string
	raw  []byte
}

// benchSealer seals in place, as repo/crypt does; the tests' sealer allocates.
type benchSealer struct{ aeadSealer }

func (s benchSealer) SealInPlace(buf []byte) []byte {
	buf = slices.Grow(buf, TagSize)
	rand.Read(buf[:NonceSize])
	return buf[:NonceSize+len(s.Seal(buf[NonceSize:NonceSize], buf[:NonceSize], buf[NonceSize:], nil))]
}

var benchKeys = Keys{
	Data: benchSealer{newSealer(1)}, Map: benchSealer{newSealer(2)},
	Table: benchSealer{newSealer(3)}, Tail: benchSealer{newSealer(4)},
}

func benchContents() []benchContent {
	rnd := mathrand.New(mathrand.NewPCG(1, 2))
	sparse := make([]byte, benchFrame)
	for off := 0; off < len(sparse); off += 64 << 10 {
		copy(sparse[off:off+4096], noise(byte(off>>16), 4096))
	}
	return []benchContent{
		{"programs", benchProgram(rnd, benchFrame)},
		{"text", benchText(rnd, benchFrame)},
		{"noise", noise(5, benchFrame)},
		{"zeros", sparse},
	}
}

// benchProgram resembles machine code, which compresses to about a half: common instructions, rarer operands.
func benchProgram(rnd *mathrand.Rand, n int) []byte {
	const kinds, length = 128, 4
	instructions := noise(6, kinds*length)
	out := make([]byte, 0, n+2*length)
	for len(out) < n {
		at := min(rnd.IntN(kinds), rnd.IntN(kinds), rnd.IntN(kinds)) * length
		out = append(out, instructions[at:at+length]...)
		if rnd.IntN(4) == 0 {
			out = binary.LittleEndian.AppendUint32(out, rnd.Uint32()>>rnd.IntN(32))
		}
	}
	return out[:n]
}

// benchText returns words in random order.
func benchText(rnd *mathrand.Rand, n int) []byte {
	words := bytes.SplitAfter([]byte("the disk of last Tuesday comes back byte for byte and nothing else matters then\n"), []byte(" "))
	out := make([]byte, 0, n+8)
	for len(out) < n {
		out = append(out, words[rnd.IntN(len(words))]...)
	}
	return out[:n]
}

// benchOpen returns the content as a frame of 64 KiB chunks.
func benchOpen(raw []byte) *Open {
	o := &Open{Kind: chunk.Data}
	for i := 0; i < len(raw); i += 64 << 10 {
		o.Add(chunk.ID{1, byte(i >> 16)}, raw[i:i+64<<10])
	}
	return o
}

// BenchmarkEncode compresses and seals a frame. raw/sealed is the compression ratio.
func BenchmarkEncode(b *testing.B) {
	for _, content := range benchContents() {
		for _, c := range []Compression{CompressFastest, CompressDefault, CompressBetter} {
			b.Run(content.name+"/"+c.String(), func(b *testing.B) {
				e, o, sealed := newEncoder(b, benchKeys), benchOpen(content.raw), []byte(nil)
				b.SetBytes(int64(len(o.Raw)))
				b.ReportAllocs()
				for b.Loop() {
					copy(o.Raw, content.raw) // encoding overwrites it; the copy costs almost nothing
					var err error
					if sealed, err = e.Encode(o, c); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(len(o.Raw))/float64(len(sealed)), "raw/sealed")
			})
		}
	}
}

// BenchmarkCalls replaces call distances by targets, and back.
func BenchmarkCalls(b *testing.B) {
	for _, content := range benchContents() {
		b.Run(content.name, func(b *testing.B) {
			p := bytes.Clone(content.raw)
			b.SetBytes(2 * int64(len(p)))
			b.ReportAllocs()
			for b.Loop() {
				convertCalls(p, +1, nil, nil)
				convertCalls(p, -1, nil, nil)
			}
		})
	}
}

// BenchmarkDecode opens and decompresses a frame. Opening overwrites the sealed bytes, so each round gets a copy,
// untimed.
func BenchmarkDecode(b *testing.B) {
	for _, content := range benchContents() {
		b.Run(content.name, func(b *testing.B) {
			o, d := benchOpen(content.raw), newDecoder(b, benchKeys)
			sealed := bytes.Clone(encode(b, newEncoder(b, benchKeys), o))
			scratch, dst, frame := bytes.Clone(sealed), make([]byte, len(o.Raw)), o.frame(sealed)
			b.SetBytes(int64(len(o.Raw)))
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				copy(scratch, sealed)
				b.StartTimer()
				if _, err := d.Decode(dst, scratch, frame); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// benchPack adds frames until a pack has its usual length, in buf's memory.
func benchPack(o *Open, sealed, buf []byte) *Builder {
	p := NewBuilder(buf)
	for !p.Full(32 << 20) {
		p.Add(o, sealed)
	}
	return p
}

// BenchmarkFinish seals the table of a full pack and names the file. Adding its frames is not timed.
func BenchmarkFinish(b *testing.B) {
	o := benchOpen(noise(5, benchFrame))
	sealed := bytes.Clone(encode(b, newEncoder(b, benchKeys), o))
	buf := make([]byte, 0, 34<<20)
	b.SetBytes(benchPack(o, sealed, buf).Size())
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		p := benchPack(o, sealed, buf)
		b.StartTimer()
		p.Finish(benchKeys)
	}
}

// BenchmarkSum names a file of a pack's length: almost all of the cost of finishing a pack.
func BenchmarkSum(b *testing.B) {
	file := noise(5, 32<<20)
	b.SetBytes(int64(len(file)))
	b.ReportAllocs()
	for b.Loop() {
		Sum(file)
	}
}
