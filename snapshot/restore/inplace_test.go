package restore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"platter/chunk"
	"platter/repo/store"
	"platter/snapshot/backup/backuptest"
	"platter/snapshot/diskmap"
	"platter/snapshot/image"
	"platter/snapshot/snapshottest"
)

// pitted puts zeros into a disk, in runs too short to end a chunk.
func pitted(rnd *rand.Rand, disk []byte) []byte {
	for range len(disk) >> 18 {
		off := rnd.IntN(len(disk))
		clear(disk[off:min(len(disk), off+rnd.IntN(50_000))])
	}
	return disk
}

// allowed returns the blocks that an in-place restore over old may write: those of differing chunks that are not zero.
// The value says whether the block differs, so that it must be written. It also returns how many bytes of chunks are
// right.
func allowed(t testing.TB, m *diskmap.Map, disk, old []byte) (blocks map[int64]bool, right int64) {
	t.Helper()
	blocks = map[int64]bool{}
	old = append(bytes.Clone(old), make([]byte, max(0, len(disk)-len(old)))...)
	for reg, err := range m.Regions(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		places, err := m.Places(t.Context(), reg.Index, reg.Page)
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range wantsAt(places) {
			end := w.Off + int64(w.Len)
			if bytes.Equal(disk[w.Off:end], old[w.Off:end]) {
				right += int64(w.Len)
				continue
			}
			for off := w.Off; off < end; off += chunk.Block {
				to := min(end, off+chunk.Block)
				if !chunk.IsZero(disk[off:to]) {
					blocks[off] = !bytes.Equal(disk[off:to], old[off:to])
				}
			}
		}
	}
	return blocks, right
}

// TestInPlace checks that a restore in place results in exactly the disk, writes no more than the differing chunks, and
// counts correctly.
func TestInPlace(t *testing.T) {
	seeds := uint64(12)
	if testing.Short() {
		seeds = 4
	}
	for seed := range seeds {
		rnd := rand.New(rand.NewPCG(seed, 21))
		size := rnd.IntN(6 << 20)
		switch {
		case seed == 0:
			size = diskmap.RegionSize + 3<<20 + 77
		case seed%2 == 1: // the disk fits into one window
			size = rnd.IntN(1 << 20)
		}
		disk := pitted(rnd, snapshottest.RandomDisk(rnd, size))
		s := new(store.Mem)
		snap := backuptest.Keep(t, snapshottest.Repo(t, s), image.Mem{Data: disk, Holes: true})
		r := snapshottest.Reopen(t, s)
		for round := range 4 {
			t.Run(fmt.Sprintf("%d/%d", seed, round), func(t *testing.T) {
				old := snapshottest.Scribbled(rnd, disk)
				if round == 3 {
					old = bytes.Repeat([]byte{0xaa}, size)
				}
				blocks, right := allowed(t, snap.Map(r), disk, old)
				path := snapshottest.WriteFile(t, old)
				spy := &spy{direct: round%2 == 0}
				done, err := spy.over(t.Context(), t, r, snap, path, Options{InPlace: true, Verify: round > 1})
				if err != nil {
					t.Fatal(err)
				}
				snapshottest.MustHold(t, path, disk)
				// Then it must not write blocks that are right either.
				partly := done.Right.Load() > 0 && size <= diskmap.RegionSize
				for _, w := range spy.writes {
					for off := w.Off; off < w.Off+w.Len; off += chunk.Block {
						if differs, ok := blocks[off]; !ok || !differs && partly {
							t.Fatalf("it wrote at %d, where nothing differs", off)
						}
						delete(blocks, off)
					}
				}
				for off, differs := range blocks {
					if differs {
						t.Errorf("it did not write at %d, which differs", off)
					}
				}
				// A chunk of zeros in a hole looks like a missing one.
				if got := done.Right.Load(); got > right || len(old) >= len(disk) && got != right {
					t.Errorf("%d bytes were right, it says %d", right, got)
				}
			})
		}
	}
}

// TestInPlaceGoesOn interrupts or fails a restore at each write. It checks that the restore can be run again, and does
// not repeat what it did.
func TestInPlaceGoesOn(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 22))
	disk := snapshottest.RandomDisk(rnd, 5<<20)
	s := new(store.Mem)
	snap := backuptest.Keep(t, snapshottest.Repo(t, s), image.Mem{Data: disk})
	r := snapshottest.Reopen(t, s)
	old := bytes.Repeat([]byte("old data"), 6<<17)
	broken := errors.New("medium error")
	for i := 0; ; i++ {
		path := snapshottest.WriteFile(t, old)
		ctx, cancel := context.WithCancel(t.Context())
		failing := &spy{direct: true, before: func(call int, p []byte) ([]byte, error) {
			switch {
			case call < i:
			case i%2 == 0:
				return nil, broken
			default:
				cancel()
			}
			return p, nil
		}}
		first, err := failing.over(ctx, t, r, snap, path, Options{InPlace: true})
		cancel()
		if failing.calls <= i {
			if err != nil {
				t.Fatal(err)
			}
			if i < 3 {
				t.Fatalf("only %d writes: they cannot fail half-way", i)
			}
			return
		}
		if i%2 == 0 && !errors.Is(err, broken) || err == nil && failing.calls > i+1 {
			t.Fatalf("write %d failed, and it says %v", i, err)
		}
		again, err := new(spy).over(t.Context(), t, r, snap, path, Options{InPlace: true, Verify: true})
		if err != nil {
			t.Fatal(err)
		}
		snapshottest.MustHold(t, path, disk)
		if i > 0 && err == nil && again.Written.Load() >= first.Written.Load()+again.Right.Load() && again.Right.Load() == 0 {
			t.Errorf("after write %d it wrote all %d bytes again", i, again.Written.Load())
		}
	}
}

// TestVerifyFindsLies uses a medium that keeps other bytes than those written, found early or late.
func TestVerifyFindsLies(t *testing.T) {
	rnd := rand.New(rand.NewPCG(6, 23))
	disk := append(snapshottest.RandomDisk(rnd, 4<<20), make([]byte, diskmap.RegionSize)...)
	disk = append(disk, 1)
	s := new(store.Mem)
	snap := backuptest.Keep(t, snapshottest.Repo(t, s), image.Mem{Data: disk, Holes: true})
	r := snapshottest.Reopen(t, s)
	flip := func(_ int, p []byte) ([]byte, error) {
		p = bytes.Clone(p)
		p[len(p)/2] ^= 4
		return p, nil
	}
	lost := func(call int, p []byte) ([]byte, error) { return p[:len(p)*min(call, 1)], nil }
	for name, spy := range map[string]func() *spy{
		"flipped": func() *spy { return &spy{before: flip} },
		"direct":  func() *spy { return &spy{before: flip, direct: true} },
		"lost":    func() *spy { return &spy{before: lost} },
		"late":    func() *spy { return &spy{before: flip, late: true} },
		"idle":    func() *spy { return &spy{idle: true} },
		"both":    func() *spy { return &spy{idle: true, late: true, direct: true} },
	} {
		t.Run(name, func(t *testing.T) {
			old := bytes.Repeat([]byte{7}, len(disk)/2)
			var mismatch *MismatchError
			if _, err := spy().over(t.Context(), t, r, snap, snapshottest.WriteFile(t, old), Options{InPlace: true, Verify: true}); !errors.As(err, &mismatch) {
				t.Errorf("it says %v", err)
			}
			honest := newSpy()
			honest.late = spy().late
			path := snapshottest.WriteFile(t, old)
			if _, err := honest.over(t.Context(), t, r, snap, path, Options{InPlace: true, Verify: true}); err != nil {
				t.Error(err)
			}
			snapshottest.MustHold(t, path, disk)
		})
	}
}

// TestVerifyProvesZeros puts data where the map has none, in a region with a page and in one without.
func TestVerifyProvesZeros(t *testing.T) {
	disk := make([]byte, 2*diskmap.RegionSize+5000)
	copy(disk, "data")
	s := new(store.Mem)
	snap := backuptest.Keep(t, snapshottest.Repo(t, s), image.Mem{Data: disk, Holes: true})
	r := snapshottest.Reopen(t, s)
	for _, at := range []int64{8 << 20, diskmap.RegionSize + 12345, 2*diskmap.RegionSize + 4999} {
		path := filepath.Join(t.TempDir(), "disk")
		// Without InPlace the target counts as empty, so the data stays and only verification can find it.
		f, err := os.Create(path)
		if err == nil {
			_, err = f.WriteAt([]byte{1}, at)
		}
		if err = errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
		var mismatch *MismatchError
		if _, err := newSpy().over(t.Context(), t, r, snap, path, Options{Verify: true}); !errors.As(err, &mismatch) {
			t.Errorf("data at %d: it says %v", at, err)
		}
	}
}
