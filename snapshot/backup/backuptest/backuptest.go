// Package backuptest backs disks up for tests of what is done with snapshots.
package backuptest

import (
	"context"
	"testing"

	"platter/repo"
	"platter/snapshot"
	"platter/snapshot/backup"
	"platter/snapshot/image"
)

// Keep backs a disk up.
func Keep(t testing.TB, r *repo.Repo, disk image.Disk) *snapshot.Snapshot {
	t.Helper()
	s := &snapshot.Snapshot{Name: "disk", Host: "host"}
	if err := backup.Disk(context.Background(), r, disk, nil, s, nil); err != nil {
		t.Fatal(err)
	}
	return s
}
