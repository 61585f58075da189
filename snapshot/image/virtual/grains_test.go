package virtual

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"platter/snapshot/image"
)

// grainsWriter makes a Writer of grains.
type grainsWriter struct{ *grains }

func (w grainsWriter) Close() error { return w.close() }

// TestGrains checks that the grains make up the disk, that none is all zeros, and that each is passed on once and in
// order.
func TestGrains(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, length := range []int{512, 4096, 65536, 2 << 20, 32 << 20} {
		for _, size := range []int{0, 1, 511, length - 1, length, length + 1, 5<<20 + 7} {
			d := randomDisk(rng, size)
			for _, encode := range []func([]byte) ([]byte, error){nil, func(p []byte) ([]byte, error) { return slices.Clone(p), nil }} {
				got, last := make([]byte, (size/length+1)*length), int64(-1)
				w := grainsWriter{&grains{size: int64(size), len: length, encode: encode, put: func(g grain) error {
					if g.index <= last || len(g.data) != length {
						t.Errorf("grain %d of %d bytes after %d", g.index, len(g.data), last)
					}
					last = g.index
					if encode != nil && !bytes.Equal(g.coded, g.data) {
						t.Errorf("grain %d is not encoded", g.index)
					}
					copy(got[g.index*int64(length):], g.data)
					return nil
				}}}
				if err := feed(w, d); err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(got[:size], d.Data) {
					t.Errorf("grains of %d bytes, disk of %d: the content differs", length, size)
				}
			}
		}
	}
	if err := feed(grainsWriter{&grains{size: 10, len: 4, put: func(grain) error { return nil }}}, image.Mem{Data: make([]byte, 9)}); err == nil {
		t.Error("an incomplete disk is accepted")
	}
}
