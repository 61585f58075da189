package chunk

import (
	"math/bits"
	"math/rand/v2"
	"testing"

	"github.com/restic/chunker"
)

// TestRabinCuts checks that cuts match those of the chunker that the first repositories were written with.
func TestRabinCuts(t *testing.T) {
	for seed := range uint64(40) {
		rnd := rand.New(rand.NewPCG(seed, 5))
		poly, err := DerivePoly(rand.NewChaCha8([32]byte{byte(seed)}))
		if err != nil {
			t.Fatal(err)
		}
		params := ParamsFor(MinAvg << rnd.IntN(4))
		if seed%8 == 0 {
			params.Min = Block // the least that Validate accepts
		}
		r := newRabin(poly, params)
		plain := chunker.NewBase(chunker.Pol(poly), chunker.WithBaseBoundaries(uint(params.Min), uint(params.Max)),
			chunker.WithBaseAverageBits(bits.TrailingZeros64(uint64(params.Avg))))
		fresh := *plain
		region := randomRegion(rnd, rnd.IntN(3<<20)+1)
		for off, n := 0, 0; off < len(region); off += n {
			p := region[off:]
			if rnd.IntN(4) == 0 {
				p = p[:rnd.IntN(min(len(p), int(params.Max)))+1]
			}
			want := plain.NextSplitPoint(p)
			if want < 0 {
				want, *plain = len(p), fresh
			}
			if n = r.cut(p); n != want {
				t.Fatalf("seed %d, %+v: the chunk at %[4]d of %[5]d has %[3]d bytes, want %[6]d", seed, params, n, off, len(p), want)
			}
		}
	}
}

func BenchmarkRabin(b *testing.B) {
	region := make([]byte, 16<<20)
	rand.NewChaCha8([32]byte{3}).Read(region)
	params := ParamsFor(64 << 10)
	plain := chunker.NewBase(chunker.Pol(testPoly(b)), chunker.WithBaseBoundaries(uint(params.Min), uint(params.Max)), chunker.WithBaseAverageBits(16))
	r := newRabin(testPoly(b), params)
	for name, cut := range map[string]func(p []byte) int{
		"plain": func(p []byte) int {
			if n := plain.NextSplitPoint(p[:min(len(p), int(params.Max))]); n > 0 {
				return n
			}
			return len(p)
		},
		"lanes": r.cut,
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(region)))
			for b.Loop() {
				for off := 0; off < len(region); {
					off += cut(region[off:])
				}
			}
		})
	}
}
