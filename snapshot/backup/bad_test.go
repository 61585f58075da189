package backup

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"

	"platter/repo/store"
	"platter/snapshot"
	"platter/snapshot/diskmap"
	"platter/snapshot/image"
	"platter/snapshot/image/imagetest"
	"platter/snapshot/restore"
	"platter/snapshot/restore/restoretest"
	"platter/snapshot/snapshottest"
)

// A failingDisk fails each read that touches a bad sector.
type failingDisk struct {
	*imagetest.Faulty
	mem image.Mem
	bad map[int64]bool // by sector number
}

func failing(mem image.Mem, bad map[int64]bool, err error) failingDisk {
	where := imagetest.Where(func(off int64) bool { return bad[off/imagetest.Sector] }, err)
	return failingDisk{&imagetest.Faulty{Disk: mem, Bad: where}, mem, bad}
}

// hurtDisk makes some places of a disk unreadable: sectors, runs, and also edges of blocks, slots and regions.
func hurtDisk(rnd *rand.Rand, data []byte, holes bool) failingDisk {
	d := failing(image.Mem{Data: data, Holes: holes}, map[int64]bool{}, syscall.EIO)
	sectors := (int64(len(data)) + 511) / 512
	for range rnd.IntN(40) {
		at := rnd.Int64N(sectors)
		if rnd.IntN(3) == 0 {
			grid := int64([]int{8, 16, 2048, diskmap.RegionSize / 512}[rnd.IntN(4)])
			at = max(at/grid*grid-rnd.Int64N(3), 0)
		}
		for range 1 + rnd.Int64N(1<<rnd.IntN(11)) {
			d.bad[min(at, sectors-1)] = true
			at++
		}
	}
	return d
}

// keepRound backs up a disk, and reads around its bad sectors.
func keepRound(t testing.TB, s store.Store, workers int, disk image.Disk, known *image.RescueMap, parent *snapshot.Snapshot) *snapshot.Snapshot {
	t.Helper()
	r := snapshottest.Reopen(t, s)
	r.SetWorkers(workers)
	retrying, err := image.NewRetrying(disk, known, image.RetryOptions{})
	if err != nil {
		t.Fatal(err)
	}
	snap := &snapshot.Snapshot{Name: "disk", Host: "host"}
	if err := Disk(context.Background(), r, retrying, parent, snap, nil); err != nil {
		t.Fatal(err)
	}
	return snap
}

// wantAround fails unless a snapshot is the disk, with zeros in the ranges that it lists as lost.
func wantAround(t *testing.T, s store.Store, snap *snapshot.Snapshot, d failingDisk) {
	t.Helper()
	r := snapshottest.Reopen(t, s)
	lost := snapshottest.MustLost(t, r, snap)
	sum, known := int64(0), map[int64]bool{}
	for _, q := range lost {
		sum += q.Len
		for at := q.Off / 512; at*512 < q.Off+q.Len; at++ {
			known[at] = true
		}
	}
	if sum != snap.Unreadable {
		t.Errorf("%d bytes are unreadable, and %d in ranges", snap.Unreadable, sum)
	}
	for at := range d.bad {
		if !known[at] {
			t.Errorf("sector %d is bad, and not lost", at)
		}
	}
	want := snapshottest.Without(d.mem.Data, lost)
	if got := snapshottest.Contents(t, r, snap); !bytes.Equal(got, want) {
		t.Fatal("streamed, it is another disk")
	}
	if got := restoretest.File(t, r, snap); !bytes.Equal(got, want) {
		t.Fatal("restored, it is another disk")
	}
}

// TestBadSectorsChangeNothingElse checks that a map with unreadable bytes does not depend on the parent, the number of
// workers, or whether holes are read. Except for the lost ranges, it is the disk. Versions fail in other places than
// their parents, or nowhere.
func TestBadSectorsChangeNothingElse(t *testing.T) {
	first, seeds, versions := uint64(0), uint64(6), 3
	if testing.Short() {
		first, seeds, versions = 1, 2, 2 // the first reaches into a second region
	}
	for seed := first; seed < seeds; seed++ {
		rnd := rand.New(rand.NewPCG(seed, 78))
		s := new(store.Mem)
		tinyChunks(t, s)
		data := snapshottest.RandomDisk(rnd, 6<<20+rnd.IntN(4<<20))
		if seed%3 == 0 {
			data = append(make([]byte, diskmap.RegionSize-4<<20), data...)
		}
		var all []*snapshot.Snapshot
		for range versions {
			data = sly(rnd, data)
			disk := hurtDisk(rnd, data, false)
			plain := keepRound(t, s, 1, disk, nil, nil)
			wantAround(t, s, plain, disk)
			for _, workers := range []int{2, 5} {
				if again := keepRound(t, s, workers, disk, nil, nil); again.Root != plain.Root || again.Unreadable != plain.Unreadable {
					t.Fatalf("seed %d: %d workers make another map", seed, workers)
				}
			}
			whole := keepRound(t, s, 2, disk.mem, nil, plain)
			if whole.Unreadable > 0 {
				t.Errorf("seed %d: with better luck %d bytes are unreadable", seed, whole.Unreadable)
			}
			mustBeWhole(t, s, whole, data)
			for _, parent := range append(slices.Clone(all), plain, whole) {
				if guided := keepRound(t, s, 2, disk, nil, parent); guided.Root != plain.Root {
					t.Fatalf("seed %d: guided, it is another map", seed)
				}
				if again := keepRound(t, s, 2, disk.mem, nil, parent); again.Root != whole.Root {
					t.Fatalf("seed %d: guided, the whole disk is another map", seed)
				}
			}
			all = append(all, plain, whole)
		}
	}
}

// TestBadSectorAddsLittle checks that one bad sector moves no cuts: all chunks beside it exist already.
func TestBadSectorAddsLittle(t *testing.T) {
	s := new(store.Mem)
	snapshottest.Repo(t, s)
	data := make([]byte, 16<<20)
	rand.NewChaCha8([32]byte{9}).Read(data)
	whole := keepRound(t, s, 2, image.Mem{Data: data}, nil, nil)
	disk := failing(image.Mem{Data: data}, map[int64]bool{12345: true}, syscall.EIO)
	if hurt := keepRound(t, s, 2, disk, nil, whole); hurt.Unreadable != 512 || hurt.Stats.New > 1<<20 {
		t.Errorf("%d bytes unreadable, %d new", hurt.Unreadable, hurt.Stats.New)
	}
	if again := keepRound(t, s, 2, disk.mem, nil, nil); again.Root != whole.Root || again.Stats.New > 0 {
		t.Errorf("%d bytes new with better luck", again.Stats.New)
	}
}

// TestRestoreAroundInPlace restores versions with unreadable bytes over other content, and verifies them.
func TestRestoreAroundInPlace(t *testing.T) {
	for seed := range uint64(8) {
		rnd := rand.New(rand.NewPCG(seed, 80))
		s := new(store.Mem)
		tinyChunks(t, s)
		disk := hurtDisk(rnd, snapshottest.RandomDisk(rnd, 3<<20+rnd.IntN(1<<20)), false)
		snap := keepRound(t, s, 2, disk, nil, nil)
		r := snapshottest.Reopen(t, s)
		path := snapshottest.WriteFile(t, snapshottest.Scribbled(rnd, disk.mem.Data))
		if _, err := restore.ToFile(context.Background(), r, snap, snap.Whole(), path, restore.Options{InPlace: true, Verify: true}, nil); err != nil {
			t.Fatal(err)
		}
		snapshottest.MustHold(t, path, snapshottest.Without(disk.mem.Data, snapshottest.MustLost(t, r, snap)))
	}
}

// TestRescueMapIsKept reads an image with its rescue map. What the map excludes is unreadable and is not read, whether
// it is a hole, data, or beyond the image's end.
func TestRescueMapIsKept(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 81))
	data := make([]byte, diskmap.RegionSize+8<<20)
	copy(data[diskmap.RegionSize:], snapshottest.RandomDisk(rnd, 6<<20))
	disk := failing(image.Mem{Data: data, Holes: true}, map[int64]bool{}, errors.New("it was touched"))
	lost := []diskmap.Range{{Off: 512, Len: 1024}, {Off: 3 << 20, Len: 20 << 20}, {Off: diskmap.RegionSize - 512, Len: 1<<20 + 512}, {Off: diskmap.RegionSize + 2<<20 + 512, Len: 512}, {Off: int64(len(data)), Len: 3*diskmap.RegionSize - 100}}
	for _, q := range lost[:4] {
		for at := q.Off / 512; at*512 < q.Off+q.Len; at++ {
			disk.bad[at] = true
		}
	}
	var text bytes.Buffer
	size := int64(len(data)) + 3*diskmap.RegionSize - 100
	err := image.WriteRescueMap(&text, "", size, func(yield func(image.Extent, error) bool) {
		for _, q := range lost {
			if !yield(image.Extent{Off: q.Off, Len: q.Len}, nil) {
				return
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	known, err := image.ReadRescueMap(&text)
	if err != nil {
		t.Fatal(err)
	}
	s := new(store.Mem)
	snapshottest.Repo(t, s)
	snap := keepRound(t, s, 2, disk, known, nil)
	if got := snapshottest.MustLost(t, snapshottest.Reopen(t, s), snap); !slices.Equal(got, lost) || snap.Size != size {
		t.Errorf("%d bytes, lost %v, want %d and %v", snap.Size, got, size, lost)
	}
	disk.mem.Data = append(bytes.Clone(data), make([]byte, 3*diskmap.RegionSize-100)...)
	wantAround(t, s, snap, disk)

	strict, err := image.NewRetrying(disk, known, image.RetryOptions{Strict: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := Disk(context.Background(), snapshottest.Reopen(t, s), strict, nil, &snapshot.Snapshot{}, nil); !errors.Is(err, image.ErrExcluded) || !strings.Contains(err.Error(), "read at 512: ") {
		t.Error(err)
	}
}

// TestFailuresThatEndABackup has failures that must leave no snapshot.
func TestFailuresThatEndABackup(t *testing.T) {
	data := make([]byte, diskmap.RegionSize+4<<20)
	rand.NewChaCha8([32]byte{3}).Read(data)
	everywhere := map[int64]bool{}
	for at := range int64(len(data) / 512) {
		everywhere[at] = true
	}
	tail := map[int64]bool{}
	for at := int64(3<<20) / 512; at < int64(len(data)/512); at++ {
		tail[at] = true
	}
	for what, test := range map[string]struct {
		disk   image.Disk
		strict bool
		want   error
		words  string
	}{
		"dead":   {failing(image.Mem{Data: data}, everywhere, syscall.EIO), false, image.ErrDead, ""},
		"device": {failing(image.Mem{Data: data}, tail, syscall.ENXIO), false, syscall.ENXIO, "read at 3145728: "},
		"access": {failing(image.Mem{Data: data}, tail, syscall.EACCES), false, syscall.EACCES, "read at 3145728: "},
		"strict": {failing(image.Mem{Data: data}, tail, syscall.EIO), true, syscall.EIO, "read at 3145728: "},
		"shrunk": {shrunk{image.Mem{Data: data}}, false, image.ErrResized, ""},
		"sized":  {imagetest.Changing{Mem: image.Mem{Data: data}, Err: image.ErrResized}, false, image.ErrResized, ""},
	} {
		s := new(store.Mem)
		r := snapshottest.Repo(t, s)
		retrying, err := image.NewRetrying(test.disk, nil, image.RetryOptions{Strict: test.strict})
		if err != nil {
			t.Fatal(err)
		}
		err = Disk(context.Background(), r, retrying, nil, &snapshot.Snapshot{Name: "x"}, nil)
		if !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.words) {
			t.Errorf("%s: %v", what, err)
		}
		if all, bad, err := snapshot.Load(context.Background(), r); err != nil || len(all)+len(bad) > 0 {
			t.Errorf("%s: %d snapshots, %v", what, len(all), err)
		}
	}
}

// TestUnpluggedDiskIsNoSnapshot has every read fail from some time on, with an error like that of a bad sector.
func TestUnpluggedDiskIsNoSnapshot(t *testing.T) {
	data := make([]byte, 8<<20)
	rand.NewChaCha8([32]byte{4}).Read(data)
	for reads := range 8 {
		disk := &imagetest.Faulty{Disk: image.Mem{Data: data}, Fail: imagetest.After(int64(reads), syscall.EIO)}
		r := snapshottest.Repo(t, new(store.Mem))
		retrying, err := image.NewRetrying(disk, nil, image.RetryOptions{})
		if err != nil {
			t.Fatal(err)
		}
		// A worker may meet a failing place before another has recorded a successful read.
		err = Disk(context.Background(), r, retrying, nil, &snapshot.Snapshot{}, nil)
		if dead, gone := errors.Is(err, image.ErrDead), errors.Is(err, image.ErrUnresponsive); !dead && (!gone || reads == 0) {
			t.Errorf("after %d reads: %v", reads, err)
		}
	}
}
