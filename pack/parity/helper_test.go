package parity

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"platter/pack"
)

func noise(seed byte, n int) []byte {
	p := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(p) // never fails
	return p
}

// A sample is a pack with its parity file.
type sample struct {
	Geometry
	file, par []byte
}

// newSample makes a sample of some sectors; parity is the number of parity shards per group.
func newSample(t testing.TB, sectors, groups, parity int) sample {
	t.Helper()
	file := noise(byte(sectors), sectors*Sector)
	g := Geometry{pack.Sum(file), int64(len(file)), groups, parity}
	if !g.valid() {
		t.Fatalf("%+v is not a valid geometry", g)
	}
	par, err := g.encode(file)
	if err != nil {
		t.Fatal(err)
	}
	if int64(len(par)) != g.FileSize() {
		t.Fatalf("parity file of %d bytes, FileSize says %d", len(par), g.FileSize())
	}
	return sample{g, file, par}
}

// clone returns a copy that can be damaged.
func (s sample) clone() sample {
	return sample{s.Geometry, slices.Clone(s.file), slices.Clone(s.par)}
}

// member returns a shard's bytes, in the pack or in the parity file.
func (s sample) member(shard int) []byte {
	if shard < s.sectors() {
		return s.file[shard*Sector:][:Sector]
	}
	return s.par[(s.tables()+shard-s.sectors())*Sector:][:Sector]
}

// members returns the shards of a group.
func (s sample) members(group int) []int {
	var all []int
	for shard := range s.shards() {
		if s.group(shard) == group {
			all = append(all, shard)
		}
	}
	return all
}

// spoil changes a sector's bytes.
func spoil(r *rand.Rand, sector []byte) {
	before := slices.Clone(sector)
	switch r.IntN(3) {
	case 0:
		clear(sector)
	case 1:
		copy(sector, noise(byte(r.IntN(256)), Sector))
	}
	if bytes.Equal(before, sector) {
		sector[r.IntN(Sector)] ^= 1 << r.IntN(8)
	}
}

// mend repairs a damaged sample.
func (s sample) mend() ([]byte, Report, error) { return Repair(s.file, s.Size, s.par, s.Pack) }

// wantMended fails unless Repair restores the damaged sample.
func (s sample) wantMended(t *testing.T, whole sample, what string) Report {
	t.Helper()
	got, r, err := s.mend()
	if err != nil || !bytes.Equal(got, whole.file) {
		t.Fatalf("%s: %v, %d bytes", what, err, len(got))
	}
	return r
}
