package snapshot_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"platter/chunk"
	"platter/repo/store"
	"platter/repo/store/storetest"
	"platter/snapshot"
	"platter/snapshot/backup"
	"platter/snapshot/backup/backuptest"
	"platter/snapshot/diskmap"
	"platter/snapshot/image"
	"platter/snapshot/image/anatomy"
	"platter/snapshot/image/imagetest"
	"platter/snapshot/snapshottest"
)

// partitioned writes an MBR with two partitions to a disk: one starts at 1 MiB, the other at 3 MiB + 512 bytes.
func partitioned(disk []byte) []byte {
	sector := disk[:512]
	clear(sector)
	for i, p := range [][2]uint32{{2048, 4096}, {6145, uint32(len(disk)/512) - 6145}} {
		sector[446+16*i+4] = 0x83
		binary.LittleEndian.PutUint32(sector[446+16*i+8:], p[0])
		binary.LittleEndian.PutUint32(sector[446+16*i+12:], p[1])
	}
	sector[510], sector[511] = 0x55, 0xaa
	binary.LittleEndian.PutUint32(sector[440:], 0xcafe0123)
	return disk
}

// TestBackupKeepsAnatomy checks that a disk and a stream of the same bytes have the same anatomy, that it matches the
// disks of their snapshots, and that the repository returns it.
func TestBackupKeepsAnatomy(t *testing.T) {
	mem := new(store.Mem)
	r := snapshottest.Repo(t, mem)
	disk := partitioned(snapshottest.RandomDisk(rand.New(rand.NewPCG(1, 1)), 8<<20))
	s := backuptest.Keep(t, r, image.Mem{Data: disk})
	stream := &snapshot.Snapshot{Name: "stream", Host: "host"}
	if err := backup.Stream(context.Background(), r, bytes.NewReader(disk), nil, stream, nil); err != nil {
		t.Fatal(err)
	}
	if s.Anatomy == nil || len(s.Anatomy.Partitions) != 2 || s.Anatomy.ID != "cafe0123" {
		t.Fatalf("found %+v", s.Anatomy)
	}
	if !reflect.DeepEqual(s.Anatomy, stream.Anatomy) {
		t.Errorf("of a stream: %+v, of a disk: %+v", stream.Anatomy, s.Anatomy)
	}
	again := snapshottest.Reopen(t, mem)
	all, bad, err := snapshot.Load(context.Background(), again)
	if err != nil || len(bad) > 0 || len(all) != 2 {
		t.Fatal(all, bad, err)
	}
	for _, s := range all {
		old := *s
		old.Anatomy = nil // a version from before anatomies were recorded
		found, err := old.ReadAnatomy(context.Background(), again)
		if err != nil || !reflect.DeepEqual(found, s.Anatomy) {
			t.Errorf("the disk says %+v (%v), the snapshot %+v", found, err, s.Anatomy)
		}
	}
}

// TestDryRunOfStream checks that platter does not look for data that a dry run did not store.
func TestDryRunOfStream(t *testing.T) {
	mem := new(store.Mem)
	snapshottest.Repo(t, mem)
	r := snapshottest.Reopen(t, store.DryRun{Store: mem})
	s := &snapshot.Snapshot{Name: "stream", Host: "host"}
	if err := backup.Stream(context.Background(), r, bytes.NewReader(partitioned(make([]byte, 8<<20))), nil, s, nil); err != nil {
		t.Fatal(err)
	}
	if s.Anatomy != nil || len(r.Healed()) > 0 {
		t.Errorf("found %+v, healed %q", s.Anatomy, r.Healed())
	}
}

// TestAnatomyNeverStopsABackup has a disk that fails after it was read, and one with an invalid partition table.
func TestAnatomyNeverStopsABackup(t *testing.T) {
	r := snapshottest.Repo(t, new(store.Mem))
	disk := partitioned(make([]byte, 8<<20))
	disk[446+16+4] = 0x05 // an extended partition without a chain
	s := backuptest.Keep(t, r, image.Mem{Data: disk})
	if len(s.Anatomy.Notes) == 0 {
		t.Errorf("found %+v", s.Anatomy)
	}
	d := &imagetest.Faulty{Disk: image.Mem{Data: disk}}
	d.Fail = func(int64, int) error {
		if d.BytesRead() > 8<<20 {
			return errors.New("medium error")
		}
		return nil
	}
	if s := backuptest.Keep(t, r, d); len(s.Anatomy.Notes) == 0 || s.Anatomy.Table != "" {
		t.Errorf("found %+v", s.Anatomy)
	}
}

func TestFindPart(t *testing.T) {
	all := snapshot.SampleSnapshots()
	for i, s := range all {
		s.Size = 1000
		s.Anatomy = &anatomy.Disk{Table: anatomy.GPT, ID: "aaaa", Partitions: []anatomy.Partition{
			{Number: 1, Off: 10, Len: 20, Name: "esp", Content: &anatomy.Content{Type: "vfat", Version: "FAT32", Label: "EFI", UUID: "1234-ABCD"}},
			{Number: 3, Off: 100, Len: 900, UUID: "bbbb", Content: &anatomy.Content{Type: "ext4", Label: "ro:ot", UUID: "cccc"}},
			{Number: 7, Off: 500, Len: 501},
			{Number: 12, Off: 100, Len: 50, Content: &anatomy.Content{Type: "ext4", Label: "twin", UUID: "dddd"}},
			{Number: 13, Off: 150, Len: 50, Content: &anatomy.Content{Type: "swap", Label: "twin", UUID: "eeee"}},
		}}
		if i == 0 {
			s.Anatomy = &anatomy.Disk{Notes: []string{"torn"}}
		}
	}
	for _, c := range []struct {
		spec string
		want int
		part snapshot.Part
		err  string
	}{
		{"web", 5, snapshot.Part{0, 1000, ""}, ""},
		{"web~1:p1", 2, snapshot.Part{10, 20, "p1"}, ""},
		{"latest:p3", 6, snapshot.Part{100, 900, "p3"}, ""},
		{"abcd2:p12", 1, snapshot.Part{100, 50, "p12"}, ""},
		{"web:LABEL=EFI", 5, snapshot.Part{10, 20, "p1"}, ""},
		{"web:LABEL=ro:ot", 5, snapshot.Part{100, 900, "p3"}, ""},
		{"web:UUID=1234-abcd", 5, snapshot.Part{10, 20, "p1"}, ""},
		{"web:LABEL=twin", 0, snapshot.Part{}, `"web:LABEL=twin": several partitions match: p12 and p13; name one of them`},
		{"web:p7", 0, snapshot.Part{}, `"web:p7": the partition, 501 bytes from byte 500 on, reaches beyond the end of the disk, which is 1000 bytes long`},
		{"web:p2", 0, snapshot.Part{}, `"web:p2": no such partition; the disk has p1 (vfat EFI), p3 (ext4 ro:ot), p7, p12 (ext4 twin), p13 (swap twin)`},
		{"web:", 0, snapshot.Part{}, `"web:": behind a colon belongs a partition, such as p1, LABEL=… or UUID=…; the disk has p1`},
		{"web:3", 0, snapshot.Part{}, "behind a colon belongs a partition"},
		{"web:p", 0, snapshot.Part{}, "behind a colon belongs a partition"},
		{"web:p-1", 0, snapshot.Part{}, "behind a colon belongs a partition"},
		{"web:p99999999999", 0, snapshot.Part{}, "behind a colon belongs a partition"},
		{"web:LABEL=", 0, snapshot.Part{}, "behind a colon belongs a partition"},
		{"web:p1:p1", 0, snapshot.Part{}, "behind a colon belongs a partition"},
		{"web~2:p1", 0, snapshot.Part{}, `"web~2:p1": no such partition; the disk has no partitions (torn)`},
		{"nothing:p1", 0, snapshot.Part{}, `no such snapshot; 'snapshots' lists them: "nothing"`},
		{":p1", 0, snapshot.Part{}, "no such snapshot"},
	} {
		found, err := snapshot.FindPart(context.Background(), nil, all, c.spec, time.Now())
		s, part := found.Snapshot, found.Part
		switch {
		case c.err != "":
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: %v, want %s", c.spec, err, c.err)
			}
		case err != nil || s != all[c.want] || part != c.part:
			t.Errorf("%s: %v %+v (%v), want %+v", c.spec, s, part, err, c.part)
		}
	}
	if _, _, err := snapshot.Find(all, "web:p1", time.Now()); err == nil || !strings.Contains(err.Error(), `"web:p1" names "p1" of a disk, but this takes a whole disk: give "web"`) {
		t.Errorf("Find: %v", err)
	}
	for _, c := range []struct {
		filter snapshot.Filter
		want   bool
	}{
		{snapshot.Filter{Type: "ext4"}, true},
		{snapshot.Filter{Type: "EXT4"}, true},
		{snapshot.Filter{Type: "fat32"}, true},
		{snapshot.Filter{Type: "xfs"}, false},
		{snapshot.Filter{Label: "EFI"}, true},
		{snapshot.Filter{Label: "esp"}, true},
		{snapshot.Filter{Label: "efi"}, false},
		{snapshot.Filter{UUID: "1234-abcd"}, true},
		{snapshot.Filter{UUID: "BBBB"}, true},
		{snapshot.Filter{UUID: "aaaa"}, true},
		{snapshot.Filter{UUID: "ffff"}, false},
		{snapshot.Filter{Type: "ext4", Label: "ro:ot"}, true},
		{snapshot.Filter{Type: "vfat", Label: "ro:ot"}, false}, // two partitions
		{snapshot.Filter{Type: "ext4", Name: "db"}, false},
	} {
		if got := c.filter.Match(all[5]); got != c.want {
			t.Errorf("%+v: %v", c.filter, got)
		}
	}
	if (snapshot.Filter{Type: "ext4"}).Match(&snapshot.Snapshot{}) || !(snapshot.Filter{}).Match(&snapshot.Snapshot{}) {
		t.Error("a version that was not looked at")
	}
}

// TestDiffParts compares random windows of random disks with the differences of their bytes.
func TestDiffParts(t *testing.T) {
	const size = diskmap.RegionSize + 20<<20
	rng := rand.New(rand.NewPCG(3, 3))
	r := snapshottest.Repo(t, new(store.Mem))
	a := snapshottest.RandomDisk(rng, size)
	b := bytes.Clone(a)
	for range 6 { // some changes, of one byte or many
		n := 1 + rng.IntN(2)*rng.IntN(1<<20)
		off := rng.IntN(size - n)
		for i := range n {
			b[off+i] ^= 0x55
		}
	}
	// What is at 5 MiB in b is at 9 MiB and three sectors in c.
	c := make([]byte, size+8<<20)
	const moved = 4<<20 + 3*512
	copy(c[5<<20+moved:], b[5<<20:])
	disks := [][]byte{a, b, c}
	var kept []*snapshot.Snapshot
	for _, d := range disks {
		kept = append(kept, backuptest.Keep(t, r, image.Mem{Data: d, Holes: true}))
	}
	ctx := context.Background()
	check := func(i, j int, inA, inB snapshot.Part, exact bool) {
		t.Helper()
		runs, err := snapshot.Diff(ctx, r, kept[i], kept[j], inA, inB)
		if err != nil {
			t.Fatal(err)
		}
		got := slices.Collect(runs.All())
		wa, wb := disks[i][inA.Off:inA.Off+inA.Len], disks[j][inB.Off:inB.Off+inB.Len]
		snapshottest.CheckDiff(t, wa, wb, got)
		if !exact {
			return
		}
		var want diskmap.Runs
		common := min(len(wa), len(wb))
		for off := 0; off < common; {
			n := min(chunk.Block, common-off)
			if !bytes.Equal(wa[off:off+n], wb[off:off+n]) {
				want.Add(int64(off), int64(n))
			}
			off += n
		}
		want.Add(int64(common), int64(max(len(wa), len(wb))-common))
		var blocks diskmap.Runs // fewer bytes are listed if pieces start or end within a block
		for _, d := range got {
			from, to := d.Off, d.Off+d.Len
			if from < int64(common) {
				from -= from % chunk.Block
			}
			if to < int64(common) {
				to = min((to+chunk.Block-1)/chunk.Block*chunk.Block, int64(common))
			}
			blocks.Add(from, to-from)
		}
		if !slices.Equal(slices.Collect(blocks.All()), slices.Collect(want.All())) {
			t.Errorf("parts %+v and %+v differ in %v, want %v", inA, inB, got, slices.Collect(want.All()))
		}
	}
	part := func(disk []byte) snapshot.Part {
		off := rng.Int64N(int64(len(disk)) - 1)
		return snapshot.Part{Off: off, Len: 1 + rng.Int64N(int64(len(disk))-off)}
	}
	for range 8 {
		in := part(a)
		check(0, 1, in, in, false)
		check(1, 0, in, snapshot.Part{Off: in.Off, Len: 1 + rng.Int64N(size-in.Off)}, false)
		check(0, 2, in, in, false) // also disks of different heights
		x, y := part(a), part(c)
		if y.Off == x.Off {
			y.Off, y.Len = y.Off+1, max(y.Len-1, 1)
		}
		check(0, 2, x, y, true)
	}
	inB, inC := snapshot.Part{Off: 5 << 20, Len: size - 5<<20}, snapshot.Part{Off: 5<<20 + moved, Len: size - 5<<20}
	check(1, 2, inB, inC, true)
	check(0, 2, inB, inC, true)
}

// TestDiffPartsReadsLittle checks that parts that moved by whole blocks are compared mostly by chunk IDs.
func TestDiffPartsReadsLittle(t *testing.T) {
	const size, moved = 2 * diskmap.RegionSize, 3 << 20
	mem := new(store.Mem)
	r := snapshottest.Repo(t, mem)
	a := make([]byte, size)
	rand.NewChaCha8([32]byte{7}).Read(a)
	b := append(make([]byte, moved), a...)
	x, y := backuptest.Keep(t, r, image.Mem{Data: a}), backuptest.Keep(t, r, image.Mem{Data: b})
	counted := &storetest.Faulty{Store: mem}
	got, err := snapshot.Diff(context.Background(), snapshottest.Reopen(t, counted), x, y, x.Whole(), snapshot.Part{Off: moved, Len: size})
	if err != nil || got.Count > 0 {
		t.Fatalf("they differ in %+v (%v)", got, err)
	}
	if counted.BytesRead() > size/8 {
		t.Errorf("%d bytes were read of disks of %d", counted.BytesRead(), size)
	}
}

// TestAnatomyKnowsSectors checks that an MBR counts in sectors of the device that it was read from, not of the device
// that holds an image.
func TestAnatomyKnowsSectors(t *testing.T) {
	r := snapshottest.Repo(t, new(store.Mem))
	for kind, want := range map[string]int64{image.KindDevice: 4096, image.KindRaw: 512, "qcow2": 512} {
		disk, err := image.NewRetrying(image.Mem{Data: partitioned(make([]byte, 8<<20))}, nil, image.RetryOptions{})
		if err != nil {
			t.Fatal(err)
		}
		s := &snapshot.Snapshot{Name: "disk", Host: "host", Source: snapshot.Source{Kind: kind, SectorSize: 4096}}
		if err := backup.Disk(t.Context(), r, disk, nil, s, nil); err != nil {
			t.Fatal(err)
		}
		if s.Anatomy.SectorSize != want {
			t.Errorf("%s: the table counts in sectors of %d bytes, want %d", kind, s.Anatomy.SectorSize, want)
		}
	}
}
