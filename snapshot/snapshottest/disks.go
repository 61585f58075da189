package snapshottest

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"platter/chunk"
	"platter/repo"
	"platter/snapshot"
	"platter/snapshot/diskmap"
)

// RandomDisk mixes noise, text and zeros, at odd places.
func RandomDisk(r *rand.Rand, size int) []byte {
	disk := make([]byte, size)
	noise := rand.NewChaCha8([32]byte{byte(r.Uint32())})
	for off := 0; off < size; {
		n := min(1+r.IntN(3<<20), size-off)
		switch r.IntN(4) {
		case 0:
			noise.Read(disk[off : off+n])
		case 1:
			for i := range n {
				disk[off+i] = "all work and no play\n"[i%21]
			}
		}
		off += n
	}
	return disk
}

// CheckDiff demands that every changed byte is in a range, and that each range begins and ends near one.
func CheckDiff(t testing.TB, a, b []byte, diff []diskmap.Range) {
	t.Helper()
	common, at := int64(min(len(a), len(b))), int64(0)
	for i, d := range append(diff, diskmap.Range{Off: int64(max(len(a), len(b)))}) {
		if d.Off < at || i > 0 && d.Off == at && d.Len > 0 {
			t.Fatalf("range %d at %d follows one that ends at %d", i, d.Off, at)
		}
		if gap := min(d.Off, common); at < gap && !bytes.Equal(a[at:gap], b[at:gap]) {
			t.Fatalf("a change between %d and %d is in no range", at, gap)
		}
		if end := min(d.Off+d.Len, common); d.Off < end && bytes.Equal(a[d.Off:end], b[d.Off:end]) && end-d.Off > 4<<20 {
			t.Fatalf("range %+v holds no change", d)
		}
		at = d.Off + d.Len
	}
	if at < int64(max(len(a), len(b))) {
		t.Fatalf("ranges end at %d of %d", at, max(len(a), len(b)))
	}
}

// Scribbled returns an older disk: the same with other bytes, zeros and data in places, and sometimes another length.
func Scribbled(rnd *rand.Rand, disk []byte) []byte {
	old := bytes.Clone(disk)
	for range rnd.IntN(12) {
		if len(old) == 0 {
			break
		}
		off := rnd.IntN(len(old))
		run := old[off:min(len(old), off+1+rnd.IntN(200_000))]
		switch rnd.IntN(3) {
		case 0:
			clear(run)
		case 1:
			run[0]++
		default:
			for i := range run {
				run[i] = byte(i)
			}
		}
	}
	switch rnd.IntN(4) {
	case 0:
		return old[:rnd.IntN(len(old)+1)]
	case 1:
		return append(old, RandomDisk(rnd, 1+rnd.IntN(1<<20))...)
	}
	return old
}

// WriteFile makes a file of the bytes, and returns its path.
func WriteFile(t testing.TB, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// MustHold fails the test unless a file has just these bytes.
func MustHold(t testing.TB, path string, disk []byte) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, disk) {
		t.Fatalf("%d bytes that differ from the disk's %d", len(got), len(disk))
	}
}

// Contents reads all of a snapshot's disk.
func Contents(t testing.TB, r *repo.Repo, s *snapshot.Snapshot) []byte {
	t.Helper()
	disk, err := s.Open(context.Background(), r)
	if err != nil {
		t.Fatal(err)
	}
	data := make([]byte, disk.Size())
	if n, err := disk.ReadAt(data, 0); err != nil || n < len(data) {
		t.Fatalf("%d of %d bytes, %v", n, len(data), err)
	}
	return data
}

// Without is a disk with zeros in some ranges.
func Without(disk []byte, lost []diskmap.Range) []byte {
	out := bytes.Clone(disk)
	for _, q := range lost {
		clear(out[q.Off : q.Off+q.Len])
	}
	return out
}

// MustLost returns what is known to be lost of a snapshot's disk.
func MustLost(t testing.TB, r *repo.Repo, s *snapshot.Snapshot) []diskmap.Range {
	t.Helper()
	lost, err := snapshot.Lost(context.Background(), r, s)
	if err != nil {
		t.Fatal(err)
	}
	return slices.Collect(lost.All())
}

// KeepMaps stores maps that no disk was read for, and snapshots of them.
func KeepMaps(t testing.TB, r *repo.Repo, snapshots []*snapshot.Snapshot, make func(save func(data []byte) chunk.ID)) {
	t.Helper()
	err := r.WithLease(t.Context(), repo.BackingUp, func(ctx context.Context) error {
		_, err := r.Write(ctx, func(ctx context.Context, w *repo.Writer) (err error) {
			make(func(data []byte) chunk.ID {
				id, e := w.SaveMap(ctx, data)
				if e != nil {
					err = e
				}
				return id
			})
			return err
		})
		for i := 0; i < len(snapshots) && err == nil; i++ {
			err = snapshots[i].Save(ctx, r)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// WideMap is the map of a disk of equal regions, which has one page, and one node on each level.
func WideMap(save func([]byte) chunk.ID, size int64, pieces ...diskmap.Piece) chunk.ID {
	id := save(diskmap.AppendPage(nil, pieces))
	for level := 1; level <= diskmap.Height(size); level++ {
		var n diskmap.Node
		for i := 0; i < diskmap.FanOut && diskmap.ChildOffset(level, i) < size; i++ {
			n[i] = id
		}
		id = save(n.AppendTo(nil, level))
	}
	return id
}
