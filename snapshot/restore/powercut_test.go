package restore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"platter/repo"
	"platter/repo/store"
	"platter/repo/store/storetest"
	"platter/snapshot"
	"platter/snapshot/backup"
	"platter/snapshot/diskmap"
	"platter/snapshot/image"
	"platter/snapshot/snapshottest"
)

// TestBackupPowerCuts cuts the power after every call by which a second backup changes a disk. After each cut, every
// snapshot present is its disk, every snapshot that Backup returned is present, and the next backup works.
func TestBackupPowerCuts(t *testing.T) {
	ctx := context.Background()
	first := snapshottest.RandomDisk(rand.New(rand.NewPCG(1, 8)), diskmap.RegionSize+1<<20)
	clear(first[1<<20 : diskmap.RegionSize]) // an empty region saves time
	second := bytes.Clone(first)
	rand.NewChaCha8([32]byte{8}).Read(second[1000:200_000]) // never fails
	disks := map[string][]byte{"first": first, "second": second}

	disk := storetest.NewDisk()
	snapshottest.Repo(t, store.NewLocalOn(disk))
	backup := func(d *storetest.Disk, name string) error {
		r, err := openSmall(ctx, d)
		if err != nil {
			return err
		}
		return backup.Disk(ctx, r, image.Mem{Data: disks[name], Holes: true}, nil, &snapshot.Snapshot{Name: name}, nil)
	}
	if err := backup(disk, "first"); err != nil {
		t.Fatal(err)
	}
	disk = disk.Lose(storetest.Kept)
	done := false // set while no call is running
	wrecks, tried := storetest.Wrecks(disk, storetest.Cuts, func() bool { return done }, func(d *storetest.Disk) {
		if err := backup(d, "second"); err != nil {
			t.Error(err)
		}
		done = true
	})
	t.Logf("%d calls, %d cuts, %d wrecks", len(disk.Calls()), tried, len(wrecks))
	for i, w := range wrecks {
		if testing.Short() && i%5 > 0 {
			continue
		}
		err := wantKept(ctx, w.Disk, disks, w.Promised)
		if err == nil {
			err = backup(w.Disk, "second")
		}
		if err == nil {
			err = wantKept(ctx, w.Disk.Lose(storetest.Lost), disks, true)
		}
		if err != nil {
			t.Fatalf("%s: %v", w.Where, err)
		}
	}
}

func openSmall(ctx context.Context, d *storetest.Disk) (*repo.Repo, error) {
	r, err := repo.Open(ctx, store.NewLocalOn(d), []byte("pw"))
	if err != nil {
		return nil, err
	}
	r.SetWorkers(1) // so that calls come in the same order every time
	return r, r.LoadIndex(ctx)
}

// wantKept checks that every snapshot is the disk of its name, and that the required snapshots are present.
func wantKept(ctx context.Context, d *storetest.Disk, disks map[string][]byte, both bool) error {
	r, err := openSmall(ctx, d)
	if err != nil {
		return err
	}
	snapshots, bad, err := snapshot.Load(ctx, r)
	if err = errors.Join(err, errors.Join(bad...)); err != nil {
		return err
	}
	there := map[string]bool{}
	for _, s := range snapshots {
		if err := wantDisk(ctx, r, s, disks[s.Name]); err != nil {
			return fmt.Errorf("read %q: %w", s.Name, err)
		}
		there[s.Name] = true
	}
	if !there["first"] || both && !there["second"] {
		return fmt.Errorf("of the snapshots there are only %v", there)
	}
	return nil
}

// wantDisk compares a snapshot with want. It skips reads of zeros to save time.
func wantDisk(ctx context.Context, r *repo.Repo, s *snapshot.Snapshot, want []byte) error {
	got, err := s.Open(ctx, r)
	if err != nil {
		return err
	}
	for e, err := range got.Extents() {
		if err != nil {
			return err
		}
		data := make([]byte, e.Len)
		if !e.Zero {
			if _, err := got.ReadAt(data, e.Off); err != nil && err != io.EOF {
				return err
			}
		}
		if !bytes.Equal(data, want[e.Off:e.Off+e.Len]) {
			return fmt.Errorf("%d bytes at %d are not what they were", e.Len, e.Off)
		}
	}
	return nil
}
