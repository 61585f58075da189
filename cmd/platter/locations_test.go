package main

import (
	"strings"
	"testing"
	"time"

	"platter/repo"
	"platter/repo/repotest"
	"platter/repo/store"
)

// TestLocation checks which repository in the place of another raises an alarm each time, and which one a single warning.
func TestLocation(t *testing.T) {
	made := time.Now()
	for _, c := range []struct {
		name   string
		looked time.Time // when this machine last looked; zero for a note of an older platter
		alarm  bool
	}{
		{"made after the last look", made.Add(-time.Hour), false},
		{"made before the last look", made.Add(time.Hour), true},
		{"unknown", time.Time{}, true},
	} {
		e, _, stderr := testEnv(t)
		e.now = func() time.Time { return made.Add(2 * time.Hour) }
		folder := t.TempDir()
		r := repotest.New(t, new(store.Mem), repo.DefaultSettings)
		common := common{repo: "/nas", watch: new(watch)}
		if err := setLocation(folder, location(common), place{strings.Repeat("ab", 16), c.looked}); err != nil {
			t.Fatal(err)
		}
		for look := range 2 {
			before := len(stderr.String())
			common.watch.alarms = 0
			e.watchLocation(common, r, folder)
			if said := len(stderr.String()) > before; (common.watch.alarms > 0) != c.alarm || said != (c.alarm || look == 0) {
				t.Errorf("%s, look %d: %d alarms, %q", c.name, look, common.watch.alarms, stderr)
			}
		}
	}
}

// TestLocationIsLookedAt checks that the time of the last look is kept, to the minute.
func TestLocationIsLookedAt(t *testing.T) {
	e, _, _ := testEnv(t)
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	e.now = func() time.Time { return now }
	folder := t.TempDir()
	r := repotest.New(t, new(store.Mem), repo.DefaultSettings)
	common := common{repo: "/nas", watch: new(watch)}
	for range 5 {
		e.watchLocation(common, r, folder)
		if seen := readLocations(folder)[location(common)].Seen; now.Sub(seen) > time.Minute {
			t.Errorf("at %v it was last seen at %v", now, seen)
		}
		now = now.Add(50 * time.Second)
	}
}
