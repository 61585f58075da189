package repo

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"platter/pack"
	"platter/repo/store/storetest"
)

// TestFlips flips one bit of a pack, 2,000 times, with and without parity. Check names that pack and no other, even if
// it opens no frame. Every chunk loads with its original bytes or, without parity, returns an error that names the
// pack.
func TestFlips(t *testing.T) {
	flips := 2000
	if testing.Short() {
		flips = 200
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	samples := []*sample{newSample(t), newParitySample(t)}
	lost := 0
	for n := range flips {
		x, parity := samples[n%2], n%2 == 1
		packs := x.packs()
		name := packs[rnd.IntN(len(packs))]
		bit := rnd.IntN(8 * len(x.files[name]))
		y := x.clone()
		y.files[name] = slices.Clone(x.files[name])
		y.files[name][bit/8] ^= 1 << (bit % 8)
		s := storetest.MemOf(t, y.files)
		r := reopen(t, s)
		bad := 0
		for _, c := range x.chunks {
			if err := loadOne(r, c); errors.Is(err, errWrongBytes) || err != nil && (parity || !errors.Is(err, pack.ErrDamaged) || !strings.Contains(err.Error(), name)) {
				t.Fatalf("bit %d of %s: chunk %v: %v", bit, name, c.id, err)
			} else if err != nil {
				bad++
			}
		}
		if bad > 0 {
			lost++
		}
		for _, o := range []CheckOptions{{ReadPacks: true, ReadOnly: true}, {ReadPacks: true, ReadData: true, ReadOnly: true}} {
			report, err := reopen(t, s).Check(t.Context(), o, nil)
			if err != nil || !begins(report.Damage, name) || slices.ContainsFunc(report.Damage, func(line string) bool { return !strings.HasPrefix(line, name+": ") }) {
				t.Fatalf("bit %d of %s: check %+v: %v, %q", bit, name, o, err, report.Damage)
			}
		}
		if report, err := CheckNames(t.Context(), s, 2, nil); err != nil || len(report.Damage) != 1 || !begins(report.Damage, name) {
			t.Fatalf("bit %d of %s: CheckNames: %v, %+v", bit, name, err, report)
		}
	}
	if lost < flips/4 { // the others hit tables, which the index can replace
		t.Errorf("of %d flips without parity %d lost a chunk", flips/2, lost)
	}
	t.Logf("%d flips; of %d without parity %d lost chunks", flips, flips/2, lost)
}
