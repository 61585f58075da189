package snapshot_test

import (
	"fmt"
	"log"
	"time"

	"platter/snapshot"
)

// A name means the newest version of that disk, and ~1 the one before it.
func ExampleFind() {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	all := []*snapshot.Snapshot{
		{Name: "laptop", Time: now.AddDate(0, 0, -2), Note: "before the upgrade"},
		{Name: "laptop", Time: now.AddDate(0, 0, -1), Note: "after it"},
	}
	for _, spec := range []string{"laptop", "laptop~1"} {
		s, _, err := snapshot.Find(all, spec, now)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(spec, "is the version", s.Note)
	}
	// Output:
	// laptop is the version after it
	// laptop~1 is the version before the upgrade
}
