package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"platter/chunk"
	"platter/repo/layout"
	"platter/repo/store"
	"platter/snapshot"
	"platter/snapshot/diskmap"
	"platter/snapshot/image"
	"platter/snapshot/snapshottest"
)

// ranges yields extents.
func ranges(all []image.Extent) iter.Seq2[image.Extent, error] {
	return func(yield func(image.Extent, error) bool) {
		for _, e := range all {
			if !yield(e, nil) {
				return
			}
		}
	}
}

// changesOf returns the blocks in which two disks of one length differ, and sometimes one that does not differ. Neighbours
// are often, but not always, one range.
func changesOf(rnd *rand.Rand, a, b []byte) (changed []image.Extent) {
	const block = 4096
	for at := 0; at < len(a); at += block {
		end := min(at+block, len(a))
		if bytes.Equal(a[at:end], b[at:end]) && rnd.IntN(2000) > 0 {
			continue
		}
		n := len(changed)
		if n > 0 && changed[n-1].Off+changed[n-1].Len == int64(at) && rnd.IntN(4) > 0 {
			changed[n-1].Len += int64(end - at)
		} else {
			changed = append(changed, image.Extent{Off: int64(at), Len: int64(end - at)})
		}
	}
	for i, e := range changed { // as an overlay says of what was discarded
		changed[i].Zero = chunk.IsZero(b[e.Off:][:e.Len])
	}
	return changed
}

// TestChangedIsLikeDisk holds that Changed makes the map that a backup of the whole disk makes. The edits are those that
// move cuts, begin and end zeros, and reach over the bounds of regions.
func TestChangedIsLikeDisk(t *testing.T) {
	first, seeds, versions := uint64(0), uint64(6), 5
	if testing.Short() {
		first, seeds, versions = 2, 3, 2 // the others have more than one region
	}
	for seed := first; seed < seeds; seed++ {
		rnd := rand.New(rand.NewPCG(seed, 78))
		s := new(store.Mem)
		r := tinyChunks(t, s)
		disk := snapshottest.RandomDisk(rnd, 5<<20+rnd.IntN(4<<20))
		switch seed % 3 {
		case 0: // the data are on both sides of a bound, behind a region of zeros
			disk = append(make([]byte, 2*diskmap.RegionSize-3<<20), disk...)
		case 1: // and before one
			disk = append(disk, make([]byte, diskmap.RegionSize)...)
		}
		parent := keep(t, r, image.Mem{Data: disk})
		for range versions {
			next := sly(rnd, disk)
			next = append(next, make([]byte, max(0, len(disk)-len(next)))...)[:len(disk)]
			r = snapshottest.Reopen(t, s)
			whole, got := &snapshot.Snapshot{}, &snapshot.Snapshot{}
			mem := image.Mem{Data: next, Holes: seed%2 == 0}
			reads := &countingDisk{Disk: mem}
			if err := Changed(t.Context(), r, reads, ranges(changesOf(rnd, disk, next)), parent, got, nil); err != nil {
				t.Fatal(err)
			}
			mustBeWhole(t, s, got, next)
			if err := Disk(t.Context(), snapshottest.Reopen(t, s), mem, nil, whole, nil); err != nil {
				t.Fatal(err)
			}
			if got.Root != whole.Root {
				t.Fatalf("seed %d: the map is not that of a whole backup", seed)
			}
			if got.Stats.Data != whole.Stats.Data {
				t.Fatalf("seed %d: %d bytes of data, and a whole backup has %d", seed, got.Stats.Data, whole.Stats.Data)
			}
			disk, parent = next, got
		}
	}
}

// TestChangedZerosReachAChunk makes zeros end, as far as the cutter can see at once, where a chunk of the parent begins with
// zeros of its own. They go on into that chunk.
func TestChangedZerosReachAChunk(t *testing.T) {
	s := new(store.Mem)
	r := tinyChunks(t, s)
	cutter, err := r.Cutter()
	if err != nil {
		t.Fatal(err)
	}
	need := int64(cutter.Need())
	disk := make([]byte, 2<<20)
	rand.NewChaCha8([32]byte{3}).Read(disk)
	first := keep(t, r, image.Mem{Data: disk})
	pieces, err := first.Map(r).Page(t.Context(), 0, first.Root)
	if err != nil {
		t.Fatal(err)
	}
	tried, at := 0, int64(0)
	for _, q := range pieces {
		cut := at
		if at += int64(q.Len); cut < need+64<<10 {
			continue
		}
		old := bytes.Clone(disk)
		clear(old[cut:][:4096])
		parent := keep(t, snapshottest.Reopen(t, s), image.Mem{Data: old})
		next := bytes.Clone(old)
		clear(next[cut-need : cut])
		got := &snapshot.Snapshot{}
		changed := ranges([]image.Extent{{Off: cut - need, Len: need}})
		if err := Changed(t.Context(), snapshottest.Reopen(t, s), image.Mem{Data: next}, changed, parent, got, nil); err != nil {
			t.Fatal(err)
		}
		if whole := keep(t, snapshottest.Reopen(t, s), image.Mem{Data: next}); got.Root != whole.Root {
			t.Fatalf("zeros before the cut at %d: the map is not that of a whole backup", cut)
		}
		if tried++; tried == 5 {
			return
		}
	}
	t.Fatal("too few cuts")
}

// A countingDisk counts the bytes that are read.
type countingDisk struct {
	image.Disk
	read atomic.Int64
}

func (d *countingDisk) ReadAt(p []byte, off int64) (int, error) {
	d.read.Add(int64(len(p)))
	return d.Disk.ReadAt(p, off)
}

// TestChangedReadsLittle holds that a changed block costs the chunks around it, however large the disk is.
func TestChangedReadsLittle(t *testing.T) {
	disk := make([]byte, 96<<20)
	rand.NewChaCha8([32]byte{1}).Read(disk)
	s := new(store.Mem)
	r := snapshottest.Repo(t, s)
	parent := keep(t, r, image.Mem{Data: disk})
	disk[80<<20]++
	d := &countingDisk{Disk: image.Mem{Data: disk}}
	got := &snapshot.Snapshot{}
	if err := Changed(t.Context(), r, d, ranges([]image.Extent{{Off: 80 << 20, Len: 4096}}), parent, got, nil); err != nil {
		t.Fatal(err)
	}
	mustBeWhole(t, s, got, disk)
	if got.Stats.Data != parent.Stats.Data {
		t.Errorf("%d bytes of data, not %d", got.Stats.Data, parent.Stats.Data)
	}
	if most := int64(4 << 20); d.read.Load() > most || got.Stats.New > 1<<20 {
		t.Errorf("one changed block read %d bytes and stored %d", d.read.Load(), got.Stats.New)
	}
}

// TestChangedReadsNoHoles holds that a change in the middle of zeros does not make it read the zeros, if they are a hole.
func TestChangedReadsNoHoles(t *testing.T) {
	disk := make([]byte, 64<<20)
	r := snapshottest.Repo(t, new(store.Mem))
	parent := keep(t, r, image.Mem{Data: disk})
	disk[20<<20]++
	d := &countingDisk{Disk: image.Mem{Data: disk, Holes: true}}
	got := &snapshot.Snapshot{}
	if err := Changed(t.Context(), r, d, ranges([]image.Extent{{Off: 20 << 20, Len: 4096}}), parent, got, nil); err != nil {
		t.Fatal(err)
	}
	if d.read.Load() > 2<<20 {
		t.Errorf("it read %d bytes", d.read.Load())
	}
	if whole := keep(t, r, image.Mem{Data: disk}); got.Root != whole.Root {
		t.Error("the map is not that of a whole backup")
	}
}

// TestChangedUnreadable holds that what was unreadable stays so, unless it changed, and that it is not read.
func TestChangedUnreadable(t *testing.T) {
	rnd := rand.New(rand.NewPCG(9, 9))
	for round := range 30 {
		plain := snapshottest.RandomDisk(rnd, 4<<20)
		bad := image.Extent{Off: int64(rnd.IntN(len(plain)-70_000)) &^ 511, Len: int64(1+rnd.IntN(100)) * 512}
		s := new(store.Mem)
		r := tinyChunks(t, s)
		if round%2 == 0 { // a chunk can reach further than the shortest zero run
			r = snapshottest.Repo(t, new(store.Mem))
		}
		failing := func(data []byte, bad ...image.Extent) *image.Retrying { return unreadable(t, data, bad...) }
		parent := &snapshot.Snapshot{}
		if err := Disk(t.Context(), r, failing(plain, bad), nil, parent, nil); err != nil {
			t.Fatal(err)
		}
		next := bytes.Clone(plain)
		off := bad.Off&^4095 + int64(rnd.IntN(120)-50)*4096
		edit := image.Extent{Off: max(0, min(off, int64(len(plain))-8192)), Len: 8192}
		for i := range next[edit.Off:][:edit.Len] {
			next[edit.Off+int64(i)] = byte(rnd.Uint32())
		}
		var left []image.Extent
		for _, e := range []image.Extent{
			{Off: bad.Off, Len: min(bad.Off+bad.Len, edit.Off) - bad.Off},
			{Off: max(bad.Off, edit.Off+edit.Len), Len: bad.Off + bad.Len - max(bad.Off, edit.Off+edit.Len)},
		} {
			if e.Len > 0 && e.Off < bad.Off+bad.Len && !slices.Contains(left, e) {
				left = append(left, e)
			}
		}
		got, whole := &snapshot.Snapshot{}, &snapshot.Snapshot{}
		if err := Changed(t.Context(), r, failing(next, left...), ranges([]image.Extent{edit}), parent, got, nil); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if err := Disk(t.Context(), r, failing(next, left...), nil, whole, nil); err != nil {
			t.Fatal(err)
		}
		if got.Root != whole.Root || got.Unreadable != whole.Unreadable {
			t.Fatalf("round %d: bad %+v, edit %+v: %d bytes unreadable, a whole backup has %d", round, bad, edit, got.Unreadable, whole.Unreadable)
		}
		same := &snapshot.Snapshot{}
		if err := Changed(t.Context(), r, failing(next, left...), ranges(nil), got, same, nil); err != nil {
			t.Fatal(err)
		}
		if same.Root != got.Root || same.Unreadable != got.Unreadable || same.Stats.Data != got.Stats.Data {
			t.Fatalf("round %d: nothing changed, and of %d bytes of data and %d unreadable there are %d and %d", round, got.Stats.Data, got.Unreadable, same.Stats.Data, same.Unreadable)
		}
	}
}

// unreadable returns a disk whose bad ranges are known not to be readable.
func unreadable(t *testing.T, data []byte, bad ...image.Extent) *image.Retrying {
	t.Helper()
	var text strings.Builder
	fmt.Fprintln(&text, "0x0 +")
	at := int64(0)
	for _, e := range append(bad, image.Extent{Off: int64(len(data))}) {
		if e.Off > at {
			fmt.Fprintf(&text, "%#x %#x +\n", at, e.Off-at)
		}
		if at = e.Off + e.Len; e.Len > 0 {
			fmt.Fprintf(&text, "%#x %#x -\n", e.Off, e.Len)
		}
	}
	known, err := image.ReadRescueMap(strings.NewReader(text.String()))
	if err != nil {
		t.Fatal(err)
	}
	retrying, err := image.NewRetrying(image.Mem{Data: data}, known, image.RetryOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return retrying
}

// TestChangedHeals holds that a chunk which the repository lost is read from the disk and stored again, and that a disk
// with other bytes there is refused.
func TestChangedHeals(t *testing.T) {
	s := new(store.Mem)
	r := snapshottest.Repo(t, s)
	disk := make([]byte, 16<<20)
	rand.NewChaCha8([32]byte{2}).Read(disk)
	parent := keep(t, r, image.Mem{Data: disk})
	page, _ := snapshottest.Reopen(t, s).Index().Lookup(parent.Root)
	for _, p := range r.Index().Packs() {
		if p.ID != page.Pack {
			if err := s.Delete(t.Context(), layout.PackName(p.ID)); err != nil {
				t.Fatal(err)
			}
		}
	}
	lied := bytes.Clone(disk)
	for at := range len(lied) >> 20 {
		lied[at<<20+777]++
	}
	changed := ranges([]image.Extent{{Off: 0, Len: 1}})
	err := Changed(t.Context(), snapshottest.Reopen(t, s), image.Mem{Data: lied}, changed, parent, &snapshot.Snapshot{}, nil)
	if err == nil || !strings.Contains(err.Error(), "said to be unchanged") {
		t.Errorf("a disk that differs outside the ranges: %v", err)
	}
	got := &snapshot.Snapshot{}
	if err := Changed(t.Context(), snapshottest.Reopen(t, s), image.Mem{Data: disk}, changed, parent, got, nil); err != nil {
		t.Fatal(err)
	}
	if got.Root != parent.Root || got.Stats.New < int64(len(disk))/2 {
		t.Errorf("%d bytes were stored again", got.Stats.New)
	}
	mustBeWhole(t, s, got, disk)
}

// TestChangedRefuses holds that ranges out of order or beyond the disk, another size, and failing reads are errors.
func TestChangedRefuses(t *testing.T) {
	disk := snapshottest.RandomDisk(rand.New(rand.NewPCG(3, 3)), 1<<20)
	r := snapshottest.Repo(t, new(store.Mem))
	parent := keep(t, r, image.Mem{Data: disk})
	size := int64(len(disk))
	for _, bad := range [][]image.Extent{{{Off: size, Len: 1}}, {{Off: 8, Len: -1}}, {{Off: 9, Len: 1}, {Off: 8, Len: 1}}, {{Off: 0, Len: 5}, {Off: 4, Len: 5}}} {
		r := snapshottest.Repo(t, new(store.Mem))
		parent := keep(t, r, image.Mem{Data: disk})
		if err := Changed(t.Context(), r, image.Mem{Data: disk}, ranges(bad), parent, &snapshot.Snapshot{}, nil); err == nil {
			t.Errorf("%v is taken", bad)
		}
	}
	if err := Changed(t.Context(), r, image.Mem{Data: disk[1:]}, ranges(nil), parent, &snapshot.Snapshot{}, nil); !errors.Is(err, image.ErrResized) {
		t.Errorf("a shorter disk: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Changed(ctx, r, image.Mem{Data: disk}, ranges(nil), parent, &snapshot.Snapshot{}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("a context that has ended: %v", err)
	}
}
