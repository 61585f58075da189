package pack

import (
	"bytes"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"slices"
	"testing"

	"platter/chunk"
)

// TestDecodePrefix holds that a prefix is that of the frame, for any content, compression and length, and that it leaves
// out most of the rest where that is possible.
func TestDecodePrefix(t *testing.T) {
	rnd := mathrand.New(mathrand.NewPCG(1, 2))
	mixed := slices.Concat(text(300_000), noise(1, 200_000), make([]byte, 300_000), code(3, 700_000), text(100_000), noise(2, 300_000))
	e, d := newEncoder(t, nullKeys), newDecoder(t, nullKeys)
	for name, raw := range map[string][]byte{
		"mixed": mixed, "code": code(4, 1_500_000), "noise": noise(3, 1_000_000), "zeros": make([]byte, 2_000_000), "short": text(5000),
		"text": text(2_500_000), "one byte": {7}, "calls at the end of blocks": bytes.Repeat(append(code(5, 131_065), 0xE8, 1, 2, 3, 0), 10),
	} {
		for _, how := range []Compression{CompressOff, CompressFastest, CompressDefault, CompressBetter} {
			plain := bytes.Clone(raw)
			sealed, err := e.Encode(openFrame(chunk.Data, plain), how)
			if err != nil {
				t.Fatal(err)
			}
			f := Frame{chunk.Data, uint32(len(sealed)), uint32(len(raw)), 1}
			short := 0
			for range 60 {
				n := 1 + rnd.IntN(len(raw))
				got, err := d.DecodePrefix(nil, bytes.Clone(sealed), f, n)
				if err != nil || len(got) < n || !bytes.Equal(got, raw[:len(got)]) {
					t.Fatalf("%s, %v: the first %d of %d bytes: %d, %v", name, how, n, len(raw), len(got), err)
				}
				if len(got) > n+2*zstdBlockMax && n < len(raw)/2 {
					short++
				}
			}
			if short > 0 && how != CompressOff && (name == "mixed" || name == "code" || name == "text") {
				t.Errorf("%s, %v: %d of 60 prefixes are much longer than needed", name, how, short)
			}
		}
	}
}

// TestDecodePrefixDamage holds that a frame which does not open is an error, however little of it is wanted.
func TestDecodePrefixDamage(t *testing.T) {
	e, d := newEncoder(t, benchKeys), newDecoder(t, benchKeys)
	sealed := bytes.Clone(encode(t, e, openFrame(chunk.Data, text(500_000))))
	f := Frame{chunk.Data, uint32(len(sealed)), 500_000, 1}
	sealed[len(sealed)-20] ^= 1
	if _, err := d.DecodePrefix(nil, sealed, f, 10); !errors.Is(err, ErrDamaged) {
		t.Errorf("a damaged frame: %v", err)
	}
}

// FuzzShorten shortens anything. It stays within the frame, and undo restores every byte.
func FuzzShorten(f *testing.F) {
	e := newEncoder(f, nullKeys)
	for _, raw := range [][]byte{text(400_000), noise(1, 300_000), make([]byte, 600_000), code(2, 500_000)} {
		f.Add(slices.Clone(encode(f, e, openFrame(chunk.Data, raw)))[NonceSize+1:], len(raw), 140_000)
	}
	f.Add([]byte{0x28, 0xB5, 0x2F, 0xFD, 0x60, 0, 0}, 1, 1)
	f.Fuzz(func(t *testing.T, frame []byte, raw, n int) {
		was := bytes.Clone(frame)
		s, ok := shorten(frame, raw&(1<<24-1), max(n&(1<<24-1), 1))
		if !ok {
			if !bytes.Equal(frame, was) {
				t.Fatal("it was changed and not shortened")
			}
			return
		}
		if len(s.frame) >= len(was)+zstdHeader {
			t.Fatal("it is longer")
		}
		s.undo()
		if !bytes.Equal(frame, was) {
			t.Fatal("undo does not restore it")
		}
	})
}

// BenchmarkDecodePrefix decodes up to a place in the middle, as a read of one chunk does.
func BenchmarkDecodePrefix(b *testing.B) {
	for _, content := range benchContents() {
		for _, part := range []int{16, 2, 1} {
			b.Run(fmt.Sprintf("%s/1:%d", content.name, part), func(b *testing.B) {
				o, d := benchOpen(content.raw), newDecoder(b, benchKeys)
				sealed := bytes.Clone(encode(b, newEncoder(b, benchKeys), o))
				scratch, dst, frame := bytes.Clone(sealed), make([]byte, len(o.Raw)), o.frame(sealed)
				for b.Loop() {
					b.StopTimer()
					copy(scratch, sealed)
					b.StartTimer()
					if _, err := d.DecodePrefix(dst, scratch, frame, len(o.Raw)/part); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
