package parity

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/zeebo/blake3"

	"platter/pack"
)

func TestGeometry(t *testing.T) {
	for _, test := range []struct {
		size                  int64
		share, groups, parity int
		fileSize              int64
	}{
		{4096, 30, 1, 1, 3 * 4096},
		{4096, 1000, 1, 1, 3 * 4096},
		{33 * 4096, 30, 1, 1, 3 * 4096},
		{34 * 4096, 30, 1, 2, 4 * 4096},
		{32 << 20, 30, 1, 246, 280 * 4096},
		{32 << 20, 1, 1, 9, 43 * 4096},
		{32 << 20, 1000, 1, 8192, 8258 * 4096},
		{128 << 20, 1000, 1, 32768, (32768 + 2*132) * 4096},
		{128<<20 + 4096, 1000, 2, 16385, 0},
		{1 << 30, 30, 5, 1573, 8947 * 4096},
		{1 << 30, 1000, 8, 32768, (262144 + 2*1049) * 4096},
	} {
		g, err := NewGeometry(pack.FileID{1}, test.size, test.share)
		if err != nil || g.Groups != test.groups || g.Parity != test.parity || !g.valid() {
			t.Errorf("%d bytes, %d‰: %+v, %v", test.size, test.share, g, err)
		}
		if test.fileSize != 0 && g.FileSize() != test.fileSize {
			t.Errorf("%d bytes, %d‰: parity file of %d bytes, want %d", test.size, test.share, g.FileSize(), test.fileSize)
		}
	}
	// Every share of every size has a geometry.
	for share := 1; share <= MaxShare; share++ {
		for size := int64(Sector); size <= pack.MaxSize; size += max(size/3/Sector, 1) * Sector {
			if g, err := NewGeometry(pack.FileID{}, size, share); err != nil || g.FileSize() > MaxFile {
				t.Fatalf("%d bytes, %d‰: %+v, %v", size, share, g, err)
			}
		}
	}
}

func TestRefused(t *testing.T) {
	for _, size := range []int{0, 1, 4095, 4097, 10000} {
		if _, err := Encode(make([]byte, size), pack.FileID{}, DefaultShare); err == nil {
			t.Errorf("a pack of %d bytes has parity", size)
		}
		if _, _, err := Repair(nil, int64(size), nil, pack.FileID{}); !errors.Is(err, ErrTooDamaged) {
			t.Errorf("a pack of %d bytes: %v", size, err)
		}
	}
	for _, share := range []int{-1, 0, MaxShare + 1} {
		if _, err := Encode(make([]byte, Sector), pack.FileID{}, share); err == nil {
			t.Errorf("a share of %d‰ is accepted", share)
		}
	}
}

// reseal changes bytes of all blocks of the table and fixes their sums.
func (s sample) reseal(change func(block []byte)) {
	for n := range s.tables() {
		for _, at := range s.places(n) {
			block := s.par[at : at+Sector]
			change(block)
			sum := blake3.Sum256(block[:tableSum])
			copy(block[tableSum:], sum[:])
		}
	}
}

func put32(at int, v uint32) func([]byte) {
	return func(block []byte) { binary.LittleEndian.PutUint32(block[at:], v) }
}

// TestForged passes Repair well-formed parity files with false content. The pack has lost a sector.
func TestForged(t *testing.T) {
	s := newSample(t, 40, 1, 4)
	other := newSample(t, 41, 1, 4)
	for _, test := range []struct {
		name    string
		change  func(bad *sample)
		refused bool // by Describe
		newer   bool
	}{
		{"another parity", func(bad *sample) {
			copy(bad.member(40), noise(7, Sector))
			sum := hash(bad.member(40))
			bad.reseal(func(block []byte) { copy(block[tableHead+40*hashSize:], sum[:]) })
		}, false, false},
		{"another pack's hashes", func(bad *sample) {
			bad.reseal(func(block []byte) { copy(block[tableHead:tableSum], other.par[tableHead:tableSum]) })
		}, false, false},
		{"another pack's file", func(bad *sample) { bad.par = bytes.Clone(other.par) }, false, false},
		{"another name", func(bad *sample) { bad.reseal(func(block []byte) { block[20]++ }) }, false, false},
		{"another pack under the name", func(bad *sample) {
			bad.par = bytes.Clone(other.par)
			bad.reseal(func(block []byte) { copy(block[12:], s.Pack[:]); put32(44, 40*Sector)(block) })
		}, false, false},
		{"another size", func(bad *sample) { bad.reseal(put32(44, 39*Sector)) }, false, false},
		{"size 0", func(bad *sample) { bad.reseal(put32(44, 0)) }, true, false},
		{"odd size", func(bad *sample) { bad.reseal(put32(44, 40*Sector+1)) }, true, false},
		{"size too large", func(bad *sample) { bad.reseal(put32(44, 1<<30+Sector)) }, true, false},
		{"no group", func(bad *sample) { bad.reseal(put32(48, 0)) }, true, false},
		{"9 groups", func(bad *sample) { bad.reseal(put32(48, 9)) }, true, false},
		{"2^32 − 1 groups", func(bad *sample) { bad.reseal(put32(48, 1<<32-1)) }, true, false},
		{"no parity", func(bad *sample) { bad.reseal(put32(52, 0)) }, true, false},
		{"more parity than pack", func(bad *sample) { bad.reseal(put32(52, 41)) }, true, false},
		{"2^32 − 1 parity", func(bad *sample) { bad.reseal(put32(52, 1<<32-1)) }, true, false},
		{"more parity than there is", func(bad *sample) { bad.reseal(put32(52, 5)) }, false, false},
		{"block 1 of 1", func(bad *sample) { bad.reseal(put32(56, 1)) }, true, false},
		{"no zeros", func(bad *sample) { bad.reseal(put32(60, 1)) }, true, false},
		{"version 2", func(bad *sample) { bad.reseal(func(block []byte) { block[8] = 2 }) }, true, true},
		{"a feature", func(bad *sample) { bad.reseal(func(block []byte) { block[11] = 1 }) }, true, true},
		{"a pack's header", func(bad *sample) { bad.reseal(func(block []byte) { block[10] = 3 }) }, true, false},
	} {
		bad := s.clone()
		spoil(newRand(), bad.member(3))
		test.change(&bad)
		got, _, err := bad.mend()
		if !errors.Is(err, ErrTooDamaged) || got != nil || errors.Is(err, pack.ErrNewer) != test.newer {
			t.Errorf("%s: %v, %d bytes", test.name, err, len(got))
		}
		if _, err := Describe(bad.par); (err != nil) != test.refused || errors.Is(err, pack.ErrNewer) != test.newer {
			t.Errorf("%s: described: %v", test.name, err)
		}
	}
}

// TestTwoGeometries has a parity file half overwritten by one with another share.
func TestTwoGeometries(t *testing.T) {
	s := newSample(t, 600, 1, 8)
	more := newSample(t, 600, 1, 20)
	bad := s.clone()
	copy(bad.par, more.par[:Sector])
	clear(bad.file[:8*Sector])
	bad.wantMended(t, s, "one block of another geometry")
}

// TestFixture opens a file that the first version of this code wrote.
func TestFixture(t *testing.T) {
	const name = "336ee10d11c2b412cc13c387b427671fcb63d06852a47264fef2f7d1b80b9f9a"
	file, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	par, err := os.ReadFile(filepath.Join("testdata", name+".par"))
	if err != nil {
		t.Fatal(err)
	}
	id := pack.Sum(file)
	if id.String() != name {
		t.Fatalf("the fixture has the wrong ID: %v", id)
	}
	if again, err := Encode(file, id, 400); err != nil || !bytes.Equal(again, par) {
		t.Errorf("the fixture's encoding has changed: %v, %d bytes", err, len(again))
	}
	g := Geometry{id, int64(len(file)), 1, 2}
	for i := range g.sectors() {
		for j := range g.sectors() {
			bad := sample{g, bytes.Clone(file), bytes.Clone(par)}
			clear(bad.member(i))
			clear(bad.member(j))
			bad.wantMended(t, sample{g, file, par}, hex.EncodeToString([]byte{byte(i), byte(j)}))
		}
	}
}
