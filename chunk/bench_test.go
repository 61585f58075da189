package chunk

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// benchRegion is the length of a disk's region.
const benchRegion = 64 << 20

// A benchContent is a region of one sort of data.
type benchContent struct {
	name   string
	region []byte
}

// benchContents are noise, text of few words, and noise in files of 4 KiB to 1 MiB with zeros between them. The zero
// runs are shorter and longer than MinZeroRun.
func benchContents() []benchContent {
	noise := make([]byte, benchRegion)
	rand.NewChaCha8([32]byte{2}).Read(noise) // never fails
	mixed := append([]byte(nil), noise...)
	rnd := rand.New(rand.NewPCG(1, 2))
	for off := 0; off < len(mixed); {
		off += (1 + rnd.IntN(256)) * Block
		n := (1 + rnd.IntN(1+2*MinZeroRun/Block)) * Block
		clear(mixed[min(off, len(mixed)):min(off+n, len(mixed))])
		off += n
	}
	return []benchContent{{"noise", noise}, {"text", benchText(rnd, benchRegion)}, {"mixed", mixed}}
}

// benchText returns words in random order.
func benchText(rnd *rand.Rand, n int) []byte {
	words := []string{"the ", "disk ", "of ", "last ", "Tuesday ", "comes ", "back\n", "byte ", "for ", "and ", "region ", "4096 "}
	text := make([]byte, 0, n+8)
	for len(text) < n {
		text = append(text, words[rnd.IntN(len(words))]...)
	}
	return text[:n]
}

// benchPieces cuts a region as a backup does, through a moving window, and passes each piece to fn.
func benchPieces(c *Cutter, region []byte, fn func(p []byte, zero bool)) {
	c.Reset()
	for window := c.Need() + 1<<20; len(region) > 0; {
		view := region[:min(window, len(region))]
		n, zero := c.Next(view, len(view) == len(region))
		fn(region[:n], zero)
		region = region[n:]
	}
}

// BenchmarkCutter searches for cuts without a parent's chunks as a guide.
func BenchmarkCutter(b *testing.B) {
	for _, content := range benchContents() {
		b.Run(content.name, func(b *testing.B) {
			region := content.region
			c, chunks := newCutter(b, ParamsFor(64<<10)), 0
			b.SetBytes(int64(len(region)))
			b.ReportAllocs()
			for b.Loop() {
				chunks = 0
				benchPieces(c, region, func(_ []byte, zero bool) {
					if !zero {
						chunks++
					}
				})
			}
			b.ReportMetric(float64(chunks), "chunks/op")
		})
	}
}

// BenchmarkCutterGuided processes a region that has not changed since its parent. Hashing proves each chunk, and no
// cut is searched for. The time includes the hash, as in a backup.
func BenchmarkCutterGuided(b *testing.B) {
	type before struct {
		id   ID
		n    int
		zero bool
	}
	for _, content := range benchContents() {
		b.Run(content.name, func(b *testing.B) {
			region := content.region
			c, namer := newCutter(b, ParamsFor(64<<10)), NewNamer([32]byte{1})
			var trail []before
			benchPieces(c, region, func(p []byte, zero bool) {
				trail = append(trail, before{namer.ID(p), len(p), zero})
			})
			b.SetBytes(int64(len(region)))
			b.ReportAllocs()
			for b.Loop() {
				c.Reset()
				rest := region
				for i, old := range trail {
					view := rest[:min(c.Need()+1<<20, len(rest))]
					final := len(view) == len(rest)
					ended := i == len(trail)-1 || trail[i+1].zero
					switch {
					case old.zero:
						if n, zero := c.Next(view, final); n != old.n || !zero {
							b.Fatalf("piece %d: %d bytes, zero %v", i, n, zero)
						}
					case !c.Expect(view, final, old.n, ended) || namer.ID(view[:old.n]) != old.id:
						b.Fatalf("chunk %d differs from the parent's", i)
					default:
						c.Take(old.n)
					}
					rest = rest[old.n:]
				}
			}
		})
	}
}

// BenchmarkNamer names chunks of usual lengths: the shortest that content ends, the mean, the longest; and one block.
func BenchmarkNamer(b *testing.B) {
	data := make([]byte, 512<<10)
	rand.NewChaCha8([32]byte{2}).Read(data) // never fails
	for _, n := range []int{Block, 32 << 10, 96 << 10, 512 << 10} {
		b.Run(fmt.Sprintf("%dKiB", n>>10), func(b *testing.B) {
			namer := NewNamer([32]byte{1})
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				namer.ID(data[:n])
			}
		})
	}
}

// BenchmarkZero looks for zeros as a backup and a restore do: along a zero run, and in blocks that are zero except
// for their last byte, which is the worst case.
func BenchmarkZero(b *testing.B) {
	zeros := make([]byte, 1<<20)
	almost := make([]byte, len(zeros))
	for i := Block - 1; i < len(almost); i += Block {
		almost[i] = 1
	}
	b.Run("run", func(b *testing.B) {
		b.SetBytes(int64(len(zeros)))
		b.ReportAllocs()
		for b.Loop() {
			if ZeroPrefix(zeros) != len(zeros) {
				b.Fatal("IsZero reports false for zeros")
			}
		}
	})
	b.Run("blocks", func(b *testing.B) {
		b.SetBytes(int64(len(almost)))
		b.ReportAllocs()
		for b.Loop() {
			for off := 0; off < len(almost); off += Block {
				if IsZero(almost[off : off+Block]) {
					b.Fatal("IsZero reports true for a block that ends in 1")
				}
			}
		}
	})
}
