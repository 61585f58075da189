package snapshot_test

import (
	"bytes"
	"context"
	"math/rand/v2"
	"testing"

	"platter/chunk"
	"platter/pack"
	"platter/repo"
	"platter/repo/store"
	"platter/snapshot"
	"platter/snapshot/backup/backuptest"
	"platter/snapshot/diskmap"
	"platter/snapshot/image"
	"platter/snapshot/snapshottest"
)

// TestMarkHostilePage has a page that names the root of another disk's map as a data chunk. It checks that this hides
// nothing of that disk from a prune, whichever disk is marked first.
func TestMarkHostilePage(t *testing.T) {
	mem := new(store.Mem)
	r := snapshottest.Repo(t, mem)
	disk := snapshottest.RandomDisk(rand.New(rand.NewPCG(1, 53)), 30<<20)
	honest := backuptest.Keep(t, r, image.Mem{Data: disk})
	r = snapshottest.Reopen(t, mem)
	hostile := &snapshot.Snapshot{Name: "hostile", Size: 100}
	snapshottest.KeepMaps(t, r, []*snapshot.Snapshot{hostile}, func(save func([]byte) chunk.ID) {
		hostile.Root = save(diskmap.AppendPage(nil, []diskmap.Piece{{Len: 100, ID: honest.Root}}))
	})
	r = snapshottest.Reopen(t, mem)
	done, err := r.Prune(t.Context(), repo.PruneOptions{MaxRepack: 1 << 40}, func(ctx context.Context, _ []pack.FileID, m *repo.Marks) error {
		return snapshot.Mark(ctx, r, []pack.FileID{hostile.ID, honest.ID}, m)
	}, nil)
	if err != nil || done.Unused > 0 {
		t.Errorf("%+v, %v", done, err)
	}
	if r = snapshottest.Reopen(t, mem); !bytes.Equal(snapshottest.Contents(t, r, honest), disk) {
		t.Error("the disk differs")
	}
}
