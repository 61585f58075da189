package backup

import (
	"bytes"
	"context"
	"math/rand/v2"
	"testing"

	"platter/chunk"
	"platter/repo"
	"platter/repo/repotest"
	"platter/repo/store"
	"platter/snapshot"
	"platter/snapshot/diskmap"
	"platter/snapshot/image"
	"platter/snapshot/restore/restoretest"
	"platter/snapshot/snapshottest"
)

// TestGuideChangesNothing checks that a map is the same for any parent: an earlier version, one of another disk, or
// none. The edits are those that could mislead: blocks that become zero or stop being zero, zero runs that move or grow
// by a block, inserted blocks, other ends.
func TestGuideChangesNothing(t *testing.T) {
	seeds, versions := uint64(4), 4
	if testing.Short() {
		seeds, versions = 1, 2
	}
	for seed := range seeds {
		rnd := rand.New(rand.NewPCG(seed, 77))
		s := new(store.Mem)
		r := tinyChunks(t, s)
		disk := snapshottest.RandomDisk(rnd, 8<<20+rnd.IntN(4<<20))
		if seed%3 == 0 {
			disk = append(make([]byte, diskmap.RegionSize-6<<20), disk...)
		}
		all := []*snapshot.Snapshot{keep(t, r, image.Mem{Data: disk})}
		for range versions {
			disk = sly(rnd, disk)
			r = snapshottest.Reopen(t, s)
			plain := keep(t, r, image.Mem{Data: disk})
			for i, parent := range append(all, plain) {
				guided, streamed := &snapshot.Snapshot{}, &snapshot.Snapshot{}
				err := Disk(context.Background(), r, image.Mem{Data: disk, Holes: true}, parent, guided, nil)
				if err != nil {
					t.Fatal(err)
				}
				err = Stream(context.Background(), r, bytes.NewReader(disk), parent, streamed, nil)
				if err != nil {
					t.Fatal(err)
				}
				if i == len(all)-1 { // usually the previous version
					mustBeWhole(t, s, guided, disk)
				}
				if guided.Root != plain.Root || streamed.Root != plain.Root {
					t.Fatalf("seed %d: guided by %d bytes of another version, %d bytes get another map", seed, parent.Size, len(disk))
				}
			}
			all = append(all, plain)
		}
	}
}

// tinyChunks returns a repository with small chunks, so that a disk has many cuts that could go wrong.
func tinyChunks(t *testing.T, s store.Store) *repo.Repo {
	t.Helper()
	settings := repo.DefaultSettings
	settings.Chunks = chunk.ParamsFor(chunk.MinAvg)
	return repotest.New(t, s, settings)
}

// mustBeWhole reads a snapshot back, which proves that each chunk is stored under its own ID.
func mustBeWhole(t *testing.T, s store.Store, snap *snapshot.Snapshot, disk []byte) {
	t.Helper()
	if !bytes.Equal(restoretest.Stream(t, snapshottest.Reopen(t, s), snap), disk) {
		t.Fatal("the guided version is not the disk")
	}
}

// sly returns a copy with edits where the rules for pieces change.
func sly(rnd *rand.Rand, disk []byte) []byte {
	const block = 4096
	out := bytes.Clone(disk)
	at := func(n int) int { return rnd.IntN(max(1, len(out)-n)) &^ (block - 1) }
	for range 1 + rnd.IntN(60) {
		switch rnd.IntN(9) {
		case 0: // one more or one fewer block of zeros
			off := at(block)
			clear(out[off:min(off+block, len(out))])
		case 1:
			out[rnd.IntN(len(out))] ^= 0x80
		case 2: // a zero run near the minimum length
			n := 16*block + (rnd.IntN(5)-2)*block
			off := at(n)
			clear(out[off:min(off+n, len(out))])
		case 3: // a zero run grows to the left or right
			off := at(40 * block)
			if i := bytes.Index(out[off:], make([]byte, block)); i >= 0 {
				from := max(0, off+i-rnd.IntN(3)*block)
				clear(out[from:min(from+3*block, len(out))])
			}
		case 4: // data in the middle of zeros
			off := at(40 * block)
			if i := bytes.Index(out[off:], make([]byte, 20*block)); i >= 0 {
				out[off+i+rnd.IntN(20*block)] = 1
			}
		case 5: // blocks are inserted or removed
			off := at(block)
			n := rnd.IntN(20) * block
			out = append(append(bytes.Clone(out[:off]), snapshottest.RandomDisk(rnd, n)...), out[off:]...)
		case 6:
			off := at(30 * block)
			out = append(bytes.Clone(out[:off]), out[min(off+rnd.IntN(30)*block, len(out)):]...)
		case 7: // noise, so that cuts appear and disappear between cuts that stay
			off := at(40 * block)
			for i := range out[off:min(off+rnd.IntN(10)*block, len(out))] {
				out[off+i] ^= byte(rnd.Uint32())
			}
		case 8: // another end
			if rnd.IntN(10) > 0 {
				break
			}
			out = out[:len(out)-rnd.IntN(min(len(out)-1, 70000))]
		}
	}
	return out
}

// TestGuideIsOnlyAHint checks that a parent whose map is lost does not stop a backup.
func TestGuideIsOnlyAHint(t *testing.T) {
	s := new(store.Mem)
	r := snapshottest.Repo(t, s)
	disk := image.Mem{Data: snapshottest.RandomDisk(rand.New(rand.NewPCG(5, 5)), 3<<20)}
	snap := keep(t, r, disk)
	lost := *snap
	lost.Root[0] ^= 1
	again := &snapshot.Snapshot{}
	if err := Disk(context.Background(), snapshottest.Reopen(t, s), disk, &lost, again, nil); err != nil || again.Root != snap.Root {
		t.Fatalf("%v, %v", again.Root, err)
	}
}
