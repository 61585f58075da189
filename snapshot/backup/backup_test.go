package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"slices"
	"testing"

	"platter/repo"
	"platter/repo/store"
	"platter/snapshot"
	"platter/snapshot/diskmap"
	"platter/snapshot/image"
	"platter/snapshot/image/imagetest"
	"platter/snapshot/restore/restoretest"
	"platter/snapshot/snapshottest"
)

func keep(t testing.TB, r *repo.Repo, disk image.Disk) *snapshot.Snapshot {
	t.Helper()
	s := &snapshot.Snapshot{Name: "disk", Host: "host"}
	if err := Disk(context.Background(), r, disk, nil, s, nil); err != nil {
		t.Fatal(err)
	}
	return s
}

// sparser clears most of a disk if tests must be short, all but 4 MiB on both sides of a region's ends. What the regions
// of a disk have to do with each other is there.
func sparser(disk []byte) []byte {
	const end = 4 << 20
	for at := end; testing.Short() && at < len(disk)-end; at += diskmap.RegionSize {
		clear(disk[at:min(at+diskmap.RegionSize-2*end, len(disk)-end)])
	}
	return disk
}

func TestBackupRestoresEverySize(t *testing.T) {
	sizes := []int{0, 1, 511, 512, 4095, 4096, 4097, 65536, 1<<20 + 3, 5<<20 - 1, diskmap.RegionSize, diskmap.RegionSize + 1}
	for _, size := range sizes {
		for _, zeros := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d/%v", size, zeros), func(t *testing.T) {
				s := new(store.Mem)
				disk := make([]byte, size)
				if !zeros {
					disk = sparser(snapshottest.RandomDisk(rand.New(rand.NewPCG(uint64(size), 1)), size))
				}
				snap := keep(t, snapshottest.Repo(t, s), image.Mem{Data: disk, Holes: true})
				if snap.Size != int64(size) || zeros && (!snap.Root.IsZero() || snap.Stats.Stored != 0) {
					t.Fatalf("%+v", snap)
				}
				r := snapshottest.Reopen(t, s)
				if !bytes.Equal(restoretest.File(t, r, snap), disk) {
					t.Fatal("the restored file differs")
				}
				if !bytes.Equal(restoretest.Stream(t, r, snap), disk) {
					t.Fatal("the stream differs")
				}
			})
		}
	}
}

// TestBackupIsTheSame checks that a map depends only on the disk's bytes, not on holes, workers or the kind of source.
func TestBackupIsTheSame(t *testing.T) {
	disk := sparser(snapshottest.RandomDisk(rand.New(rand.NewPCG(3, 3)), 2*diskmap.RegionSize+12345))
	s := new(store.Mem)
	r := snapshottest.Repo(t, s)
	want := keep(t, r, image.Mem{Data: disk})
	for workers := 1; workers <= 5; workers++ {
		r := snapshottest.Reopen(t, s)
		r.SetWorkers(workers)
		again := keep(t, r, image.Mem{Data: disk, Holes: workers%2 == 0})
		if again.Root != want.Root || again.Stats.New != 0 {
			t.Fatalf("%d workers: root %v, want %v; %d new bytes", workers, again.Root, want.Root, again.Stats.New)
		}
	}
	r = snapshottest.Reopen(t, s)
	streamed := &snapshot.Snapshot{Name: "disk"}
	if err := Stream(context.Background(), r, bytes.NewReader(disk), nil, streamed, nil); err != nil {
		t.Fatal(err)
	}
	if streamed.Root != want.Root || streamed.Size != want.Size || streamed.Stats.New != 0 {
		t.Fatalf("as a stream: %+v", streamed)
	}
}

// TestEditsShareAndDiff edits a disk at random. It checks that versions share what is equal, that each is restored
// unchanged, and that diff lists every changed byte and little else.
func TestEditsShareAndDiff(t *testing.T) {
	seeds, edits := uint64(3), 4
	if testing.Short() {
		seeds, edits = 1, 2
	}
	for seed := range seeds {
		rnd := rand.New(rand.NewPCG(seed, 9))
		s := new(store.Mem)
		r := snapshottest.Repo(t, s)
		disk := sparser(snapshottest.RandomDisk(rnd, diskmap.RegionSize+rnd.IntN(diskmap.RegionSize)))
		before := keep(t, r, image.Mem{Data: disk, Holes: true})
		for range edits {
			edited := edit(rnd, disk)
			r = snapshottest.Reopen(t, s)
			after := keep(t, r, image.Mem{Data: edited, Holes: true})
			diff, err := snapshot.Diff(context.Background(), r, before, after, before.Whole(), after.Whole())
			if err != nil {
				t.Fatal(err)
			}
			snapshottest.CheckDiff(t, disk, edited, slices.Collect(diff.All()))
			if !bytes.Equal(restoretest.File(t, r, after), edited) || !bytes.Equal(restoretest.File(t, r, before), disk) {
				t.Fatalf("seed %d: a version differs", seed)
			}
			disk, before = edited, after
		}
	}
}

// edit returns a changed copy: some bytes are overwritten, and the length may change.
func edit(rnd *rand.Rand, disk []byte) []byte {
	out := bytes.Clone(disk)
	for range 1 + rnd.IntN(5) {
		off := rnd.IntN(len(out))
		n := min(1+rnd.IntN(200<<10), len(out)-off)
		switch rnd.IntN(3) {
		case 0:
			clear(out[off : off+n])
		case 1:
			copy(out[off:off+n], out[rnd.IntN(len(out)-n+1):])
		default:
			for i := range n {
				out[off+i] ^= byte(rnd.Uint32())
			}
		}
	}
	switch rnd.IntN(4) {
	case 0:
		out = out[:len(out)-rnd.IntN(len(out)/2)]
	case 1:
		out = append(out, snapshottest.RandomDisk(rnd, rnd.IntN(diskmap.RegionSize))...)
	}
	return out
}

func TestSecondBackupAddsLittle(t *testing.T) {
	const tib = 1 << 40
	s := new(store.Mem)
	r := snapshottest.Repo(t, s)
	disk := image.Sparse{Bytes: tib, Fills: []image.Fill{{Off: 1 << 20, Len: 20 << 20, Seed: 1}, {Off: tib - 9<<20, Len: 8 << 20, Seed: 2}}}
	first := keep(t, r, disk)
	if again := keep(t, snapshottest.Reopen(t, s), disk); again.Root != first.Root || again.Stats.Stored != 0 {
		t.Fatalf("the same disk again: %+v", again.Stats)
	}
	disk.Fills = append(disk.Fills[:1:1], image.Fill{Off: tib / 2, Len: 4096, Seed: 3}, disk.Fills[1])
	changed := keep(t, snapshottest.Reopen(t, s), disk)
	if changed.Stats.Stored > 32<<10 {
		t.Fatalf("4 KiB in 1 TiB added %d bytes", changed.Stats.Stored)
	}
	// The same data at another place, on a disk of another size.
	moved := image.Sparse{Bytes: 77 << 30, Fills: []image.Fill{{Off: 5<<30 + 4096, Len: 20 << 20, Seed: 1}}}
	if other := keep(t, snapshottest.Reopen(t, s), moved); other.Stats.New > 2<<20 {
		t.Fatalf("moved data added %d bytes", other.Stats.New)
	}
}

func TestHugeDisk(t *testing.T) {
	const size = 8<<40 + 777
	s := new(store.Mem)
	r := snapshottest.Repo(t, s)
	disk := image.Sparse{Bytes: size, Fills: []image.Fill{{Off: 3 << 40, Len: 3 << 20, Seed: 1}, {Off: size - 5000, Len: 5000, Seed: 2}}}
	snap := keep(t, r, disk)
	got, err := snap.Open(context.Background(), r)
	if err != nil {
		t.Fatal(err)
	}
	buf, want := make([]byte, 5<<20), make([]byte, 5<<20)
	for _, off := range []int64{0, 3<<40 - 1<<20, 3<<40 + 12345, size - 4096, size - 5<<20} {
		n, err := got.ReadAt(buf, off)
		m, wantErr := disk.ReadAt(want, off)
		if n != m || (err == io.EOF) != (wantErr == io.EOF) || !bytes.Equal(buf[:n], want[:m]) {
			t.Fatalf("at %d: %d bytes (%v), want %d (%v)", off, n, err, m, wantErr)
		}
	}
	end := int64(0)
	for e, err := range got.Extents() {
		if err != nil || e.Off != end || e.Len <= 0 {
			t.Fatalf("extent %+v after %d: %v", e, end, err)
		}
		end += e.Len
	}
	if end != size {
		t.Fatalf("extents end at %d of %d", end, int64(size))
	}
}

type shrunk struct{ image.Mem }

func (s shrunk) Size() int64 { return int64(len(s.Data)) + 1<<20 }

func (s shrunk) Extents() iter.Seq2[image.Extent, error] {
	return func(yield func(image.Extent, error) bool) { yield(image.Extent{Len: s.Size()}, nil) }
}

func TestChangingSources(t *testing.T) {
	disk := image.Mem{Data: snapshottest.RandomDisk(rand.New(rand.NewPCG(1, 1)), 3<<20)}
	s := new(store.Mem)
	r := snapshottest.Repo(t, s)
	resized, both := imagetest.Changing{Mem: disk, Err: image.ErrResized}, imagetest.Changing{Mem: disk, Err: errors.Join(image.ErrModified, image.ErrResized)}
	for _, d := range []image.Disk{resized, both, shrunk{disk}} {
		if err := Disk(context.Background(), snapshottest.Reopen(t, s), d, nil, &snapshot.Snapshot{Name: "x"}, nil); !errors.Is(err, image.ErrResized) {
			t.Fatalf("%T: %v", d, err)
		}
	}
	if snaps, bad, err := snapshot.Load(context.Background(), r); len(snaps)+len(bad) > 0 || err != nil {
		t.Fatalf("a failed backup left %d snapshots (%v)", len(snaps), err)
	}
	if snap := keep(t, snapshottest.Reopen(t, s), imagetest.Changing{Mem: disk, Err: image.ErrModified}); !snap.Modified {
		t.Fatal("a source that was written to is not marked")
	}
}
