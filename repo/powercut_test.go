package repo

import (
	"os"
	"strings"
	"testing"

	"platter/repo/store"
	"platter/repo/store/storetest"
)

// torture reports whether tests may take as long as they need.
func torture() bool { return os.Getenv("PLATTER_TORTURE") != "" }

// TestPowerCuts cuts the power after every call by which a program changes a disk, in every way that the simulated disk
// knows.
func TestPowerCuts(t *testing.T) {
	cuts := storetest.Cuts
	if torture() {
		cuts = storetest.Random + 60
	}
	for _, p := range programs() {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			disk, promised := p.prepared(t)
			wrecks, tried := storetest.Wrecks(disk, cuts, promised.now, func(d *storetest.Disk) {
				if err := p.run(&trial{t, promised, store.NewLocalOn(d)}); err != nil {
					t.Error(err)
				}
			})
			t.Logf("%d calls, %d cuts, %d wrecks", len(disk.Calls()), tried, len(wrecks))
			for i, w := range wrecks {
				if testing.Short() && i%5 > 0 {
					continue
				}
				x := &trial{t, promised.since(w.Promised), store.NewLocalOn(w.Disk)}
				if err := p.survive(x, w.Disk); err != nil {
					var left strings.Builder
					w.Disk.Dump(&left)
					t.Fatalf("%s: %v; there is now\n%s", w.Where, err, &left)
				}
			}
		})
	}
}
