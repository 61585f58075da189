package overlay

import (
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
)

// smallJournal is the length of a journal that is soon full, in units.
const smallJournal = 2

// TestPowerCuts cuts the power after every call that changes the file, in several ways. Each time, the overlay opens, and
// each sector is as the last sync left it or as a later call did. Then it works on, is cut off again, and still has what
// was synced.
func TestPowerCuts(t *testing.T) {
	seeds, steps := 6, 100
	if testing.Short() {
		seeds = 2
	}
	if os.Getenv("PLATTER_TORTURE") != "" {
		seeds = 2000
	}
	for seed := range uint64(seeds) {
		rng := rand.New(rand.NewPCG(seed, 3))
		base := randomBase(rng, 12*unit+rng.IntN(2*unit))
		m := newModel(base)
		f := &memFile{}
		d, err := create(f, base, Binding{2}, 1+int64(seed%2)) // one is soon too small
		must(t, err)
		cuts, during := 0, op{}
		f.then = func() {
			for c := range allCuts {
				cuts++
				if err := m.survives(f.lose(c, rng), rng); err != nil {
					t.Fatalf("seed %d, cut %d after call %d, during %v: %v", seed, c, f.calls, during, err)
				}
			}
		}
		for range steps {
			during = randomOp(rng, base.Size())
			if err := m.do(d, during); err != nil {
				t.Fatalf("seed %d: %v: %v", seed, during, err)
			}
		}
		must(t, m.wantNow(d))
		if d.journal.number < 3 {
			t.Errorf("seed %d: only %d journals", seed, d.journal.number)
		}
		if seed == 0 {
			t.Logf("%d calls, %d cuts", f.calls, cuts)
		}
	}
}

// survives opens what a power cut left, and works on.
func (m *model) survives(f *memFile, rng *rand.Rand) error {
	d, err := open(f, m.base, Binding{2})
	if err != nil {
		return err
	}
	if err := m.wantSince(d); err != nil {
		return err
	}
	if rng.IntN(4) > 0 { // saves time
		return nil
	}
	after := newModel(m.base)
	after.accept(d)
	for range rng.IntN(9) {
		o := randomOp(rng, m.base.Size())
		if err := after.do(d, o); err != nil {
			return fmt.Errorf("later, %v: %w", o, err)
		}
	}
	if err := after.wantNow(d); err != nil {
		return fmt.Errorf("later: %w", err)
	}
	d, err = open(f.lose(cut(rng.IntN(int(allCuts))), rng), m.base, Binding{2})
	if err != nil {
		return fmt.Errorf("after a second cut: %w", err)
	}
	if err := after.wantSince(d); err != nil {
		return fmt.Errorf("after a second cut: %w", err)
	}
	return nil
}

// TestPowerCutsAtBirth cuts the power while an overlay is made: it opens, or says that it is damaged or not there.
func TestPowerCutsAtBirth(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 9))
	base := randomBase(rng, 5*unit)
	f := &memFile{}
	f.then = func() {
		for c := range allCuts {
			left := f.lose(c, rng)
			if d, err := open(left, base, Binding{2}); err == nil {
				must(t, newModel(base).wantNow(d))
			}
		}
	}
	_, err := create(f, base, Binding{2}, smallJournal)
	must(t, err)
	if _, err := open(f.lose(lost, rng), base, Binding{2}); err != nil {
		t.Errorf("a new overlay is not durable: %v", err)
	}
}
