package parity

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"platter/pack"
)

// TestLostSectors loses sectors of packs and parity files at random. Repair must mend as many as a group has parity,
// and must report one more as too many. It never returns anything but the pack.
func TestLostSectors(t *testing.T) {
	samples, each := 40, 50
	if testing.Short() {
		samples, each = 10, 10
	}
	r := rand.New(rand.NewPCG(2, 3))
	for range samples {
		groups := 1 + max(0, r.IntN(6)-3)
		sectors := 16 + r.IntN(113)
		s := newSample(t, sectors, groups, 1+r.IntN(min(20, sectors/groups)))
		for range each {
			tooMany := -1 // the group that loses one more
			if r.IntN(2) == 0 {
				tooMany = r.IntN(groups)
			}
			bad := s.clone()
			for group := range groups {
				lost := s.Parity
				if group == tooMany {
					lost++
				} else if r.IntN(2) == 0 {
					lost = r.IntN(lost + 1)
				}
				bad.loseOf(r, group, lost)
			}
			bad.loseTables(r)
			if tooMany < 0 {
				bad.wantMended(t, s, fmt.Sprintf("%+v", s.Geometry))
				continue
			}
			got, report, err := bad.mend()
			if !errors.Is(err, ErrTooDamaged) || got != nil || report.Worst() != s.Parity+1 {
				t.Fatalf("%+v: %v, %d bytes, %d lost in a group", s.Geometry, err, len(got), report.Worst())
			}
		}
	}
}

// loseOf spoils n shards of a group, at least one of them in the pack.
func (s sample) loseOf(r *rand.Rand, group, n int) {
	members := s.members(group)
	data := 0
	for data < len(members) && members[data] < s.sectors() {
		data++
	}
	first := r.IntN(data)
	members[0], members[first] = members[first], members[0]
	rest := members[1:]
	r.Shuffle(len(rest), func(i, j int) { rest[i], rest[j] = rest[j], rest[i] })
	for _, shard := range members[:n] {
		spoil(r, s.member(shard))
	}
}

// loseTables spoils one copy of some blocks of the table.
func (s sample) loseTables(r *rand.Rand) {
	for n := range s.tables() {
		if which := r.IntN(3); which < 2 {
			spoil(r, s.par[s.places(n)[which]:][:Sector])
		}
	}
}

// TestEachSectorOfTheParityFile loses each sector in turn, and as many sectors of the pack as can still be mended.
func TestEachSectorOfTheParityFile(t *testing.T) {
	s := newSample(t, 700, 1, 20) // two blocks of the table
	r := rand.New(rand.NewPCG(4, 5))
	for at := 0; at < len(s.par); at += Sector {
		bad := s.clone()
		spoil(r, bad.par[at:at+Sector])
		left := s.Parity
		if block := at / Sector; block >= s.tables() && block < s.tables()+s.Parity {
			left--
		}
		for _, i := range r.Perm(s.sectors())[:left] {
			spoil(r, bad.member(i))
		}
		report := bad.wantMended(t, s, fmt.Sprintf("sector %d of the parity file", at/Sector))
		if len(report.LostParity) != s.Parity-left || report.LostTables != 1-(s.Parity-left) || len(report.LostData) != left {
			t.Fatalf("sector %d of the parity file: %+v", at/Sector, report)
		}
	}
}

func TestLengths(t *testing.T) {
	s := newSample(t, 100, 1, 10)
	for _, test := range []struct {
		name   string
		change func(*sample)
		mended bool
	}{
		{"nothing", func(s *sample) {}, true},
		{"pack a byte short", func(s *sample) { s.file = s.file[:len(s.file)-1] }, true},
		{"pack 10 sectors short", func(s *sample) { s.file = s.file[:90*Sector] }, true},
		{"pack 10 sectors and a byte short", func(s *sample) { s.file = s.file[:90*Sector-1] }, false},
		{"no pack", func(s *sample) { s.file = nil }, false},
		{"pack too long", func(s *sample) { s.file = append(s.file, noise(9, 5000)...) }, true},
		{"pack too long, 10 sectors lost", func(s *sample) { clear(s.file[:10*Sector]); s.file = append(s.file, 1) }, true},
		{"parity file cut in the last table", func(s *sample) { s.par = s.par[:len(s.par)-1]; clear(s.file[:10*Sector]) }, true},
		{"parity file cut in the parity", func(s *sample) { s.par = s.par[:4*Sector+1]; clear(s.file[:3*Sector]) }, true},
		{"the same, one more lost", func(s *sample) { s.par = s.par[:4*Sector+1]; clear(s.file[:4*Sector]) }, false},
		{"parity file too long", func(s *sample) { s.par = append(s.par, s.par...); clear(s.file[:10*Sector]) }, true},
		{"parity file begins with zeros", func(s *sample) { clear(s.par[:3*Sector-1]); clear(s.file[:8*Sector]) }, true},
		{"parity file ends with zeros", func(s *sample) { clear(s.par[len(s.par)-3*Sector+1:]); clear(s.file[:8*Sector]) }, true},
		{"parity file all zeros", func(s *sample) { clear(s.par); clear(s.file[:1]) }, false},
		{"no parity file", func(s *sample) { s.par = nil; clear(s.file[:1]) }, false},
		{"no parity file, nothing lost", func(s *sample) { s.par = nil }, true},
	} {
		bad := s.clone()
		test.change(&bad)
		if test.mended {
			bad.wantMended(t, s, test.name)
		} else if got, _, err := bad.mend(); !errors.Is(err, ErrTooDamaged) || got != nil {
			t.Errorf("%s: %v, %d bytes", test.name, err, len(got))
		}
	}
}

// TestMissingPack restores a pack from a parity file of the same size alone.
func TestMissingPack(t *testing.T) {
	for _, sectors := range []int{1, 2, 3, 64, 100} {
		file := noise(1, sectors*Sector)
		par, err := Encode(file, pack.Sum(file), MaxShare)
		if err != nil {
			t.Fatal(err)
		}
		g, err := Describe(par)
		if err != nil {
			t.Fatal(err)
		}
		sample{g, nil, par}.wantMended(t, sample{g, file, par}, fmt.Sprint(sectors, " sectors"))
	}
}

// TestLostHashes loses both copies of a block of the table, so that Repair does not know which of its shards are
// intact.
func TestLostHashes(t *testing.T) {
	s := newSample(t, 1400, 1, 100)
	for _, test := range []struct {
		name   string
		lose   func(bad sample)
		mended bool
	}{
		{"nothing else", func(sample) {}, true},
		{"sectors whose hashes are known", func(bad sample) { clear(bad.file[:100*Sector]) }, true},
		{"the end of the pack", func(bad sample) { clear(bad.file[1300*Sector:]) }, true},
		{"a run whose hashes are lost", func(bad sample) { clear(bad.file[577*Sector : 627*Sector]) }, true},
		{"the last of those", func(bad sample) { clear(bad.file[999*Sector : 1000*Sector]) }, true},
		{"a run of both", func(bad sample) { clear(bad.file[990*Sector : 1010*Sector]) }, true},
		{"some far from each other", func(bad sample) { clear(bad.file[500*Sector:][:Sector]); clear(bad.file[999*Sector:][:Sector]) }, false},
		{"too many", func(bad sample) { clear(bad.file[500*Sector : 601*Sector]) }, false},
	} {
		bad := s.clone()
		for _, at := range s.places(1) {
			clear(bad.par[at : at+Sector])
		}
		test.lose(bad)
		got, r, err := bad.mend()
		if len(r.Unknown) != tableHashes || r.Unknown[0] != tableHashes || r.LostTables != 2 && r.Pack == s.Pack {
			t.Errorf("%s: %d unknown, %d blocks of the table lost", test.name, len(r.Unknown), r.LostTables)
		}
		if test.mended && (err != nil || !slices.Equal(got, s.file)) || !test.mended && (!errors.Is(err, ErrTooDamaged) || got != nil) {
			t.Errorf("%s: %v, %d bytes", test.name, err, len(got))
		}
	}
}

// TestCheck checks that the report lists exactly what was lost.
func TestCheck(t *testing.T) {
	s := newSample(t, 10, 3, 2)
	if r, err := Check(s.file, s.par); err != nil || !r.Whole() || r.Geometry != s.Geometry || r.Worst() != 0 {
		t.Errorf("an intact pack: %+v, %v", r, err)
	}
	bad := s.clone()
	bad.file[0]++           // group 0
	bad.file[3*Sector+17]++ // group 0
	bad.file[8*Sector-1]++  // group 1
	bad.member(10)[5]++     // parity, group 0
	bad.member(12)[5]++     // parity, group 2
	bad.member(15)[5]++     // parity, group 2
	bad.par[0]++
	r, err := Check(bad.file[:9*Sector+1], bad.par)
	if err != nil || !slices.Equal(r.LostData, []int{0, 3, 7, 9}) || !slices.Equal(r.LostParity, []int{0, 2, 5}) || r.LostTables != 1 {
		t.Errorf("%+v, %v", r, err)
	}
	if r.Worst() != 4 || r.Whole() {
		t.Errorf("%d lost in the worst group, want 4", r.Worst())
	}
	if _, err := Check(s.file, s.file); !errors.Is(err, pack.ErrDamaged) {
		t.Errorf("a pack instead of a parity file: %v", err)
	}
}
