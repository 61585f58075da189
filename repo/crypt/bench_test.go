package crypt

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// benchFrame is the usual length of what is sealed at once.
const benchFrame = 1 << 20

func BenchmarkSeal(b *testing.B) {
	box := NewBox(testKey(), DataFrames, RepoID{1})
	buf := make([]byte, overhead+benchFrame)
	rand.NewChaCha8([32]byte{1}).Read(buf) // never fails
	b.SetBytes(benchFrame)
	b.ReportAllocs()
	for b.Loop() {
		box.SealInPlace(buf[:nonceSize+benchFrame]) // over what the turn before sealed: the content makes no difference
	}
}

// BenchmarkOpen opens what was sealed, where it lies, so each turn gets a copy, untimed.
func BenchmarkOpen(b *testing.B) {
	box := NewBox(testKey(), DataFrames, RepoID{1})
	sealed := box.Seal(make([]byte, benchFrame))
	scratch := bytes.Clone(sealed)
	b.SetBytes(benchFrame)
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		copy(scratch, sealed)
		b.StartTimer()
		if _, err := box.Open(scratch); err != nil {
			b.Fatal(err)
		}
	}
}
