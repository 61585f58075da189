package pack

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"
)

// plainTargets is a simple implementation of toTargets, without its threshold.
func plainTargets(p []byte) []byte {
	p = slices.Clone(p)
	for i := 0; i+5 <= len(p); i++ {
		if p[i] != 0xE8 && p[i] != 0xE9 {
			continue
		}
		if p[i+4] != 0 && p[i+4] != 0xFF {
			i += 3
			continue
		}
		v := (binary.LittleEndian.Uint32(p[i+1:]) + uint32(i) + 5) % (1 << 25)
		if v >= 1<<24 {
			v += 0xFE << 24
		}
		binary.LittleEndian.PutUint32(p[i+1:], v)
		i += 4
	}
	return p
}

// callsEverywhere draws bytes that are mostly opcodes and top bytes, so that operands and opcodes overlap in every
// way.
func callsEverywhere(r *rand.Rand, n int) []byte {
	alphabet := []byte{0xE8, 0xE9, 0x00, 0xFF, 0x00, 0xFF, 0xEA, 0xE7, 0x01, 0xFE}
	p := make([]byte, n)
	for i := range p {
		if p[i] = alphabet[r.IntN(len(alphabet))]; r.IntN(8) == 0 {
			p[i] = byte(r.Uint32())
		}
	}
	return p
}

func TestCallsThereAndBack(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 20_000 {
		p := callsEverywhere(r, r.IntN(80))
		q := slices.Clone(p)
		convertCalls(q, +1, nil, nil)
		if want := plainTargets(p); !bytes.Equal(q, want) {
			t.Fatalf("%x becomes %x, want %x", p, q, want)
		}
		toDistances(q)
		if !bytes.Equal(q, p) {
			t.Fatalf("%x is restored as %x", p, q)
		}
	}
	far := callsEverywhere(r, MaxRaw) // the largest frame: targets wrap around
	q := slices.Clone(far)
	if convertCalls(q, +1, nil, nil) == 0 || bytes.Equal(q, far) {
		t.Fatal("a frame full of calls was not converted")
	}
	if toDistances(q); !bytes.Equal(q, far) {
		t.Error("the largest frame is not restored")
	}
}

// TestCallsBecomeEqual checks that calls of one function from many places become the same number.
func TestCallsBecomeEqual(t *testing.T) {
	p := make([]byte, 4096)
	const target = 77
	for i := 0; i+64 <= len(p); i += 64 {
		p[i] = 0xE8
		binary.LittleEndian.PutUint32(p[i+1:], uint32(target-(i+5)))
	}
	if n := toTargets(p); n != 64 {
		t.Fatalf("%d calls found, want 64", n)
	}
	for i := 0; i+64 <= len(p); i += 64 {
		if got := binary.LittleEndian.Uint32(p[i+1:]); got != target {
			t.Errorf("the call at %d has target %d", i, got)
		}
	}
}

func TestFewCallsStay(t *testing.T) {
	for name, p := range map[string][]byte{"text": text(1 << 20), "zeros": make([]byte, 1<<20), "nothing": nil, "noise": noise(3, 1<<20)} {
		q := slices.Clone(p)
		if n := toTargets(q); n != 0 || !bytes.Equal(p, q) {
			t.Errorf("%s: %d calls replaced", name, n)
		}
	}
}

// TestTablesStay checks that a table whose rows begin with the same number is not converted: each row would become a
// different number.
func TestTablesStay(t *testing.T) {
	p := make([]byte, 1<<20)
	for i := 0; i+16 <= len(p); i += 16 {
		copy(p[i:], []byte{0xE8, 3, 0, 0, 0, byte(i >> 4), byte(i >> 12), byte(i >> 16)})
	}
	q := slices.Clone(p)
	if n := toTargets(q); n != 0 || !bytes.Equal(p, q) {
		t.Errorf("%d calls replaced", n)
	}
}

func FuzzCalls(f *testing.F) {
	f.Add([]byte{0xE8, 0, 0, 0, 0, 0xE9, 1, 2, 3, 0xFF, 0xE8})
	f.Add(callsEverywhere(rand.New(rand.NewPCG(2, 2)), 300))
	f.Fuzz(func(t *testing.T, p []byte) {
		q := slices.Clone(p)
		convertCalls(q, +1, nil, nil)
		if want := plainTargets(p); !bytes.Equal(q, want) {
			t.Fatalf("%x becomes %x, want %x", p, q, want)
		}
		if toDistances(q); !bytes.Equal(q, p) {
			t.Fatalf("%x is restored as %x", p, q)
		}
	})
}
