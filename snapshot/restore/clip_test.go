package restore

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"platter/chunk"
	"platter/repo"
	"platter/repo/store"
	"platter/snapshot"
	"platter/snapshot/backup/backuptest"
	"platter/snapshot/diskmap"
	"platter/snapshot/image"
	"platter/snapshot/snapshottest"
)

// parts returns parts of a disk: at odd offsets, of odd lengths, within one chunk, and across the ends of regions.
func parts(rnd *rand.Rand, size int64) []snapshot.Part {
	all := []snapshot.Part{{Len: size}, {Off: size - 1, Len: 1}, {Len: 1}, {Off: 4096, Len: 4096}, {Off: 63 * 512, Len: size - 99*512}}
	if size > diskmap.RegionSize {
		all = append(all, snapshot.Part{Off: diskmap.RegionSize - 5, Len: 10}, snapshot.Part{Off: diskmap.RegionSize, Len: 1 << 20}, snapshot.Part{Off: 1 << 20, Len: diskmap.RegionSize - 1<<20})
	}
	for range 12 {
		off := rnd.Int64N(size)
		all = append(all, snapshot.Part{Off: off, Len: 1 + rnd.Int64N(min(size-off, 3<<20))})
	}
	return all
}

// TestParts checks that every way to restore a part of a disk gives the same bytes and writes nothing beside it. It
// also checks that existing content is recognized as right up to the part's ends.
func TestParts(t *testing.T) {
	for seed := range uint64(4) {
		if testing.Short() && seed != 1 {
			continue
		}
		rnd := rand.New(rand.NewPCG(seed, 31))
		size := 3<<20 + rnd.IntN(6<<20)
		if seed == 0 {
			size = diskmap.RegionSize + 5<<20 + 77
		}
		disk := pitted(rnd, snapshottest.RandomDisk(rnd, size))
		s := new(store.Mem)
		snap := backuptest.Keep(t, snapshottest.Repo(t, s), image.Mem{Data: disk, Holes: true})
		r := snapshottest.Reopen(t, s)
		for _, part := range parts(rnd, snap.Size) {
			t.Run(fmt.Sprintf("%d/%d+%d", seed, part.Off, part.Len), func(t *testing.T) {
				want := disk[part.Off:part.End()]
				var stream bytes.Buffer
				if err := ToStream(t.Context(), r, snap, part, &stream, nil); err != nil || !bytes.Equal(stream.Bytes(), want) {
					t.Errorf("the stream differs (%v)", err)
				}
				path := filepath.Join(t.TempDir(), "new")
				if _, err := ToFile(t.Context(), r, snap, part, path, Options{Verify: true}, nil); err != nil {
					t.Fatal(err)
				}
				snapshottest.MustHold(t, path, want)
				done, err := ToFile(t.Context(), r, snap, part, path, Options{InPlace: true, Verify: true}, nil)
				if err != nil {
					t.Fatal(err)
				}
				if done.Zeroed.Load() > 0 {
					t.Errorf("it zeroed %d bytes of what was right", done.Zeroed.Load())
				}
				partInPlace(t, rnd, r, snap, part, want)
			})
		}
	}
}

// partInPlace restores a part over an older version of it, and over one that differs only in its first and last byte.
func partInPlace(t *testing.T, rnd *rand.Rand, r *repo.Repo, snap *snapshot.Snapshot, part snapshot.Part, want []byte) {
	ends := bytes.Clone(want)
	ends[0]++
	ends[len(ends)-1]++
	for _, old := range [][]byte{snapshottest.Scribbled(rnd, want), bytes.Repeat([]byte{0xff}, len(want)), ends, want} {
		path := snapshottest.WriteFile(t, old)
		done, err := ToFile(t.Context(), r, snap, part, path, Options{InPlace: true, Verify: true}, nil)
		if err != nil {
			t.Fatal(err)
		}
		snapshottest.MustHold(t, path, want)
		if bytes.Equal(old, want) && !isHole(t, path) && (done.Written.Load() > 0 || done.Zeroed.Load() > 0) {
			t.Errorf("all of it was right, and it wrote %d bytes", done.Written.Load())
		}
		oneRegion := part.Off/diskmap.RegionSize == (part.End()-1)/diskmap.RegionSize
		if bytes.Equal(old, ends) && oneRegion && done.Right.Load() > 0 && done.Written.Load() > 2*chunk.Block {
			t.Errorf("two bytes differed, and it wrote %d bytes", done.Written.Load())
		}
	}
}

// isHole reports whether a file has a hole: a chunk of zeros in a hole looks like a missing one.
func isHole(t *testing.T, path string) bool {
	f, err := image.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for e := range f.Extents() {
		if e.Zero {
			return true
		}
	}
	return false
}

func TestPartBeyondTheDisk(t *testing.T) {
	s := new(store.Mem)
	snap := backuptest.Keep(t, snapshottest.Repo(t, s), image.Mem{Data: []byte("disk")})
	r := snapshottest.Reopen(t, s)
	for _, part := range []snapshot.Part{{Off: 1, Len: 4}, {Off: -1, Len: 2}, {Len: -1}, {Off: 1 << 62, Len: 1 << 62}} {
		path := filepath.Join(t.TempDir(), "disk")
		if _, err := ToFile(t.Context(), r, snap, part, path, Options{}, nil); err == nil {
			t.Errorf("%+v was restored", part)
		}
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%+v left a file", part)
		}
		if err := ToStream(t.Context(), r, snap, part, new(bytes.Buffer), nil); err == nil {
			t.Errorf("%+v was streamed", part)
		}
	}
}
