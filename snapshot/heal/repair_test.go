package heal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"platter/chunk"
	"platter/pack"
	"platter/repo"
	"platter/repo/layout"
	"platter/repo/repotest"
	"platter/repo/store"
	"platter/repo/store/storetest"
	"platter/snapshot"
	"platter/snapshot/backup/backuptest"
	"platter/snapshot/diskmap"
	"platter/snapshot/image"
	"platter/snapshot/restore/restoretest"
	"platter/snapshot/snapshottest"
)

// wantRepaired fails unless a repair has the disk that was backed up, with zeros only in ranges that are lost.
func wantRepaired(t *testing.T, r *repo.Repo, q Repair, disk []byte) {
	t.Helper()
	old, s := q.Snapshot, q.New
	if s == nil || s.Name != old.Name || s.Host != old.Host || !s.Time.Equal(old.Time) || s.Size != old.Size || s.Unreadable != q.Ranges.Bytes {
		t.Fatalf("%+v in the place of %+v", s, old)
	}
	if !strings.Contains(s.Note, old.ID.String()) || len(s.Tags) != 1 || s.Tags[0] != TagRepaired || (s.Parent == nil) != (old.Parent == nil) {
		t.Errorf("%q, %q, %v", s.Note, s.Tags, s.Parent)
	}
	lost := snapshottest.MustLost(t, r, s)
	if fmt.Sprint(lost) != fmt.Sprint(slices.Collect(q.Ranges.All())) {
		t.Errorf("%v is marked as lost, and %v is", lost, slices.Collect(q.Ranges.All()))
	}
	if !bytes.Equal(restoretest.File(t, r, s), snapshottest.Without(disk, lost)) {
		t.Error("what is left is not what was kept")
	}
	if !bytes.Equal(restoretest.Stream(t, r, s), snapshottest.Without(disk, lost)) {
		t.Error("the stream differs")
	}
	broken, err := old.Open(context.Background(), r)
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range lost {
		if _, err := broken.ReadAt(make([]byte, 1), q.Off); err == nil {
			t.Errorf("byte %d is called lost, and can be read", q.Off)
		}
	}
	if all, err := snapshot.MeasureMap(context.Background(), s.Map(r)); err != nil || all.Data != s.Stats.Data {
		t.Errorf("%+v is there, and it says %d (%v)", all, s.Stats.Data, err)
	}
}

// TestRepairSnapshots damages packs at random, and repairs the snapshots.
func TestRepairSnapshots(t *testing.T) {
	ctx := context.Background()
	for seed := range uint64(6) {
		if testing.Short() && seed > 1 {
			break
		}
		rnd := rand.New(rand.NewPCG(seed, 41))
		whole, disks := keptDisk(t, rnd, 3, []int{3 << 20, diskmap.RegionSize + 2<<20}[seed/5])
		damaged, _ := hurt(rnd, whole)
		mem := storetest.MemOf(t, damaged)
		foretold, err := RepairSnapshots(ctx, snapshottest.Reopen(t, mem), RepairOptions{ReadAll: true}, nil)
		if err != nil || !maps.EqualFunc(storetest.Files(t, mem), damaged, bytes.Equal) {
			t.Fatalf("%d: it did not only look (%v)", seed, err)
		}
		o := RepairOptions{ReadAll: true, Write: true, Platter: "test"}
		done, err := RepairSnapshots(ctx, snapshottest.Reopen(t, mem), o, nil)
		if err != nil || len(done.Snapshots) != len(foretold.Snapshots) {
			t.Fatalf("%d: %+v, %v", seed, done, err)
		}
		r := snapshottest.Reopen(t, mem)
		for i, q := range done.Snapshots {
			if fmt.Sprint(slices.Collect(q.Ranges.All())) != fmt.Sprint(slices.Collect(foretold.Snapshots[i].Ranges.All())) || !q.Made || q.Forgotten {
				t.Errorf("%d: %+v, and was to be %+v", seed, q, foretold.Snapshots[i])
			}
			var at int
			if _, err := fmt.Sscanf(q.Snapshot.Name, "disk%d", &at); err != nil {
				t.Fatal(err)
			}
			wantRepaired(t, r, q, disks[at])
			all, _, err := snapshot.Load(ctx, r)
			if s, _, e := snapshot.Find(all, q.Snapshot.Name, time.Now()); err != nil || e != nil || s.ID != q.New.ID {
				t.Errorf("%d: the name leads to the broken one (%v, %v)", seed, err, e)
			}
		}
		// A second repair makes nothing new, and removes the damaged snapshots if the options allow.
		o.Forget = true
		again, err := RepairSnapshots(ctx, snapshottest.Reopen(t, mem), o, nil)
		if err != nil || len(again.Snapshots) != len(done.Snapshots) {
			t.Fatalf("%d: %+v, %v", seed, again, err)
		}
		for i, q := range again.Snapshots {
			if q.Made || !q.Forgotten || q.New == nil || q.New.ID != done.Snapshots[i].New.ID {
				t.Errorf("%d: made again: %+v", seed, q)
			}
		}
		last, err := RepairSnapshots(ctx, snapshottest.Reopen(t, mem), o, nil)
		if err != nil || len(last.Snapshots)+len(last.Unreadable) > 0 {
			t.Errorf("%d: %+v, %v", seed, last, err)
		}
		if n := len(storetest.Names(t, mem, "snapshots")); n != len(disks) {
			t.Errorf("%d: %d snapshots, want %d", seed, n, len(disks))
		}
	}
}

// TestRepairSnapshotsTwice damages a snapshot again after it was repaired.
func TestRepairSnapshotsTwice(t *testing.T) {
	ctx := context.Background()
	whole, disks := keptDisk(t, rand.New(rand.NewPCG(1, 42)), 1, 4<<20)
	mem := storetest.MemOf(t, whole)
	names := repotest.Packs(whole)
	for _, name := range names {
		if len(whole[name]) < 100<<10 { // the map
			continue
		}
		if err := mem.Delete(ctx, name); err != nil {
			t.Fatal(err)
		}
		done, err := RepairSnapshots(ctx, snapshottest.Reopen(t, mem), RepairOptions{Write: true}, nil)
		if err != nil || len(done.Snapshots) == 0 {
			t.Fatalf("%+v, %v", done, err)
		}
		made := 0
		for _, q := range done.Snapshots {
			if q.Made {
				made++
			}
			if q.New.ID != done.Snapshots[0].New.ID {
				t.Errorf("%v has lost %v, and %v %v", q.New.ID, slices.Collect(q.Ranges.All()), done.Snapshots[0].New.ID, slices.Collect(done.Snapshots[0].Ranges.All()))
			}
		}
		r := snapshottest.Reopen(t, mem)
		if s := done.Snapshots[0].New; made > 1 || !bytes.Equal(restoretest.File(t, r, s), snapshottest.Without(disks[0], snapshottest.MustLost(t, r, s))) {
			t.Errorf("%d were made, or what is left differs", made)
		}
	}
}

// TestRepairSnapshotsWithoutMaps loses all maps of a disk of three levels. Nothing is left, and few bytes suffice to
// record that.
func TestRepairSnapshotsWithoutMaps(t *testing.T) {
	ctx := context.Background()
	mem := new(store.Mem)
	r := snapshottest.Repo(t, mem)
	disk := image.Sparse{Bytes: 300*diskmap.RegionSize + 12345, Fills: []image.Fill{{Off: 5 * diskmap.RegionSize, Len: 1 << 20, Seed: 1}, {Off: 299 * diskmap.RegionSize, Len: 1 << 20, Seed: 2}}}
	s := backuptest.Keep(t, r, disk)
	loc, ok := r.Index().Lookup(s.Root)
	if !ok {
		t.Fatal("no root")
	}
	if err := mem.Delete(ctx, "packs/"+loc.Pack.String()[:2]+"/"+loc.Pack.String()); err != nil {
		t.Fatal(err)
	}
	done, err := RepairSnapshots(ctx, snapshottest.Reopen(t, mem), RepairOptions{Write: true, Forget: true}, nil)
	if err != nil || len(done.Snapshots) != 1 || done.Snapshots[0].New.Unreadable != disk.Bytes {
		t.Fatalf("%+v, %v", done, err)
	}
	r = snapshottest.Reopen(t, mem)
	lost := snapshottest.MustLost(t, r, done.Snapshots[0].New)
	if fmt.Sprint(lost) != fmt.Sprint([]diskmap.Range{{Off: 0, Len: disk.Bytes}}) {
		t.Errorf("%v is lost", lost)
	}
	all, _, err := snapshot.Load(ctx, r)
	if err != nil {
		t.Fatal(err)
	}
	losses, err := snapshot.CheckMaps(ctx, r, all, func(chunk.ID) error { return nil })
	if err != nil || len(losses) > 0 {
		t.Errorf("%v, %v", losses, err)
	}
}

// TestRepairSnapshotsForgetsDamagedFiles checks that damaged snapshot files are removed, and only if the options say
// so.
func TestRepairSnapshotsForgetsDamagedFiles(t *testing.T) {
	ctx := context.Background()
	whole, _ := keptDisk(t, rand.New(rand.NewPCG(1, 43)), 3, 2<<20)
	mem := storetest.MemOf(t, whole)
	names := storetest.Names(t, mem, "snapshots")
	// The file of a newer version has its header, and its own name.
	newer := append(bytes.Clone(whole[names[0]][:8]), 0xff, 0xff)
	newer = append(newer, whole[names[0]][10:]...)
	id := pack.Sum(newer)
	for name, data := range map[string][]byte{names[1]: whole[names[1]][:100], "snapshots/" + id.String(): newer} {
		if err := mem.Put(ctx, name, data); err != nil {
			t.Fatal(err)
		}
	}
	for _, forget := range []bool{false, true} {
		done, err := RepairSnapshots(ctx, snapshottest.Reopen(t, mem), RepairOptions{Write: true, Forget: forget}, nil)
		if err != nil || len(done.Unreadable) != 2 || len(done.Snapshots) > 0 {
			t.Fatalf("%+v, %v", done, err)
		}
		for _, u := range done.Unreadable {
			if u.Forgotten != (forget && u.ID != id) {
				t.Errorf("forget %v: %v: %v", forget, u.Unreadable, u.Forgotten)
			}
		}
	}
	left := storetest.Names(t, mem, "snapshots")
	if len(left) != 3 || whole[left[0]] == nil && whole[left[1]] == nil {
		t.Errorf("%v", left)
	}
}

// TestRepairSnapshotsEveryOpFails checks that every version always has a snapshot, damaged or repaired. No transient
// fault may make a snapshot that has lost data that is still available.
func TestRepairSnapshotsEveryOpFails(t *testing.T) {
	ctx := context.Background()
	whole, disks := keptDisk(t, rand.New(rand.NewPCG(1, 44)), 2, 2<<20)
	damaged := maps.Clone(whole)
	packs := repotest.Packs(whole)
	data := bytes.Clone(whole[packs[0]])
	data[len(data)/2] ^= 1
	damaged[packs[0]] = data
	delete(damaged, packs[1])
	o := RepairOptions{ReadAll: true, Write: true, Forget: true}
	want := storetest.MemOf(t, damaged)
	foretold, err := RepairSnapshots(ctx, snapshottest.Reopen(t, want), o, nil)
	if err != nil || len(foretold.Snapshots) == 0 {
		t.Fatalf("%+v, %v", foretold, err)
	}
	lost := map[string]string{}
	for _, q := range foretold.Snapshots {
		lost[q.Snapshot.Name] = fmt.Sprint(slices.Collect(q.Ranges.All()))
	}
	repair := func(r *repo.Repo) error {
		done, err := RepairSnapshots(ctx, r, o, nil)
		if err == nil && len(done.Unreadable) > 0 {
			return done.Unreadable[0] // says why it was left alone
		}
		return err
	}
	look := func(mem *store.Mem) (broken int) {
		r := snapshottest.Reopen(t, mem)
		all, bad, err := snapshot.Load(ctx, r)
		if err != nil || len(bad) > 0 {
			t.Fatal(bad, err)
		}
		there := map[string]bool{}
		for _, s := range all {
			there[s.Name] = true
			if s.Unreadable > 0 && fmt.Sprint(snapshottest.MustLost(t, r, s)) != lost[s.Name] {
				t.Errorf("%s has lost %v, not %s", s.Name, snapshottest.MustLost(t, r, s), lost[s.Name])
			}
			if s.Unreadable == 0 && lost[s.Name] != "" {
				broken++
			}
		}
		if len(there) != len(disks) {
			t.Errorf("%d versions are there", len(there))
		}
		return broken
	}
	everyOp(t, damaged, repair, func(mem *store.Mem, err error) {
		if broken := look(mem); err == nil && broken > 0 {
			t.Errorf("%d are broken still", broken)
		}
		if err := repair(snapshottest.Reopen(t, mem)); err != nil {
			t.Errorf("the next repair: %v", err)
		}
		if broken := look(mem); broken > 0 || len(storetest.Names(t, mem, "snapshots")) != len(disks) {
			t.Errorf("%d are broken after the next repair", broken)
		}
	})
}

// TestRepairSnapshotsWaitsForTheStore checks that a map that cannot be read for a transient reason is no loss.
func TestRepairSnapshotsWaitsForTheStore(t *testing.T) {
	ctx := context.Background()
	whole, _ := keptDisk(t, rand.New(rand.NewPCG(1, 45)), 1, 2<<20)
	mem := storetest.MemOf(t, whole)
	s := &storetest.Faulty{Store: mem}
	r, errOffline := repotest.Open(t, s), errors.New("no answer")
	s.Got = storetest.In(layout.Packs, func(context.Context, string, int64, []byte) error { return errOffline })
	if _, err := RepairSnapshots(ctx, r, RepairOptions{Write: true, Forget: true}, nil); !errors.Is(err, errOffline) {
		t.Errorf("%v, want the store's error", err)
	}
	if n := len(storetest.Names(t, mem, "snapshots")); n != 1 {
		t.Errorf("%d snapshots", n)
	}
}
