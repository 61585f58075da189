package backup

import (
	"context"
	"strings"
	"testing"

	"platter/chunk"
	"platter/pack"
	"platter/repo"
	"platter/repo/store"
	"platter/snapshot"
	"platter/snapshot/diskmap"
	"platter/snapshot/image"
	"platter/snapshot/snapshottest"
)

// A cost is how many bytes of a repository the data of some snapshots needs.
type cost struct {
	unique int64 // of the data, each chunk once
	chunks int64 // of data, each counted once
	frames int64 // the sealed frames of those chunks
	meta   int64 // everything else: map, tables, headers, padding, index, snapshots
}

// costOf counts the bytes in the store, without the config and the keys, which do not grow. Frames that hold no data of
// the snapshots count as metadata.
func costOf(t testing.TB, r *repo.Repo, s store.Store, snapshots ...*snapshot.Snapshot) (c cost) {
	t.Helper()
	type place struct {
		pack   pack.FileID
		offset int64
	}
	ids, places := map[chunk.ID]bool{}, map[place]bool{}
	add := func(q diskmap.Piece) {
		if q.Kind != diskmap.Data || ids[q.ID] {
			return
		}
		ids[q.ID] = true
		l, ok := r.Index().Lookup(q.ID)
		if !ok || l.Len != q.Len {
			t.Fatalf("chunk %v: %v, %d bytes in the index, %d in the page", q.ID, ok, l.Len, q.Len)
		}
		c.unique += int64(l.Len)
		c.chunks++
		if at := (place{l.Pack, l.Offset}); !places[at] {
			places[at] = true
			c.frames += int64(l.Frame.Sealed)
		}
	}
	for _, s := range snapshots {
		m := s.Map(r)
		for reg, err := range m.Regions(context.Background()) {
			if err != nil {
				t.Fatal(err)
			}
			pieces, err := m.Page(context.Background(), reg.Index, reg.Page)
			if err != nil {
				t.Fatal(err)
			}
			for _, q := range pieces {
				add(q)
			}
		}
	}
	c.meta = growing(t, s) - c.frames
	return c
}

// growing returns the number of bytes in packs/, index/ and snapshots/.
func growing(t testing.TB, s store.Store) (sum int64) {
	t.Helper()
	for f, err := range s.List(context.Background(), "") {
		if err != nil {
			t.Fatal(err)
		}
		if f.Name != "config" && !strings.HasPrefix(f.Name, "keys/") {
			sum += f.Size
		}
	}
	return sum
}

// terabyte returns a disk of 1 TiB whose first region is full. Each other region that which selects holds one block.
func terabyte(which func(region int64) bool) image.Sparse {
	disk := image.Sparse{Bytes: 1 << 40, Fills: []image.Fill{{Off: 0, Len: diskmap.RegionSize, Seed: 1}}}
	for region := int64(1); region < diskmap.RegionCount(disk.Bytes); region++ {
		if which(region) {
			disk.Fills = append(disk.Fills, image.Fill{Off: region * diskmap.RegionSize, Len: chunk.Block, Seed: uint64(region) + 10})
		}
	}
	return disk
}

// overwrite changes a block in the middle of the full region.
func overwrite(disk image.Sparse) image.Sparse {
	const at = diskmap.RegionSize / 2
	disk.Fills = append([]image.Fill{
		{Off: 0, Len: at, Seed: 1},
		{Off: at, Len: chunk.Block, Seed: 2},
		{Off: at + chunk.Block, Len: diskmap.RegionSize - at - chunk.Block, Seed: 3},
	}, disk.Fills[1:]...)
	return disk
}

// nights backs up a terabyte three times: new, unchanged, and with one block changed, each with the previous version as
// parent. It returns what the two later backups added to the store, and how much of the last is data frames.
func nights(t testing.TB, disk image.Sparse) (unchanged, changed, data int64) {
	t.Helper()
	s := new(store.Mem)
	benchRepo(t, s)
	// The block's neighbours must not change, so the first night has the same three fills except for one.
	second := overwrite(disk)
	first := second
	first.Fills = append([]image.Fill(nil), second.Fills...)
	first.Fills[1].Seed = 4

	night := func(disk image.Disk, parent *snapshot.Snapshot) (*snapshot.Snapshot, *repo.Repo) {
		r, snap := snapshottest.Reopen(t, s), &snapshot.Snapshot{Name: "disk", Host: "host"}
		if err := Disk(context.Background(), r, disk, parent, snap, nil); err != nil {
			t.Fatal(err)
		}
		return snap, r
	}
	one, _ := night(first, nil)
	after := growing(t, s)
	two, r := night(first, one)
	unchanged = growing(t, s) - after
	before := costOf(t, r, s, one)
	three, r := night(second, two)
	changed = growing(t, s) - after - unchanged
	data = costOf(t, r, s, one, three).frames - before.frames
	if three.Root == one.Root || two.Root != one.Root || data == 0 {
		t.Fatal("one block changed in the third night, and none in the second")
	}
	return unchanged, changed, data
}

// TestNightlyGrowth checks that a snapshot of a disk of 1 TiB costs at most 64 KiB beside its new data. The page and
// the two nodes that change have their maximum length. BenchmarkNights does the same with data in every region.
func TestNightlyGrowth(t *testing.T) {
	unchanged, changed, data := nights(t, terabyte(func(region int64) bool {
		if testing.Short() {
			return region == diskmap.FanOut-1 || region%(diskmap.FanOut*63) == 0
		}
		return region < diskmap.FanOut || region%diskmap.FanOut == 0
	}))
	t.Logf("unchanged: %d bytes; one block changed: %d bytes, %d of them for its chunk", unchanged, changed, data)
	if unchanged > 2<<10 {
		t.Errorf("an unchanged disk of 1 TiB adds %d bytes", unchanged)
	}
	if meta := changed - data; meta > 64<<10 {
		t.Errorf("one changed block in 1 TiB adds %d bytes of metadata", meta)
	}
}

// TestMetadataShare checks that map, tables and index take at most 0.15% of unique noise, and 36 bytes per chunk each.
// A disk with shorter chunks pays for more of them.
func TestMetadataShare(t *testing.T) {
	size := int64(256 << 20)
	if testing.Short() {
		size = 64 << 20
	}
	s := new(store.Mem)
	r := benchRepo(t, s)
	snap := keep(t, r, image.Sparse{Bytes: size, Fills: []image.Fill{{Off: 0, Len: size, Seed: 1}}})
	c := costOf(t, r, s, snap)
	share, each := float64(c.meta)/float64(c.unique), float64(c.meta)/float64(c.chunks)
	t.Logf("%d bytes for %d chunks with %d bytes of unique data: %.3f%%, %.1f bytes a chunk", c.meta, c.chunks, c.unique, 100*share, each)
	if c.unique != size || c.frames < size || share > 0.0015 || each < 3*36 {
		t.Errorf("%+v for %d bytes of noise: metadata are %.3f%%", c, size, 100*share)
	}
	const fixed = 32 << 10 // headers, nodes, the padding of two packs or more, the snapshot
	if most := 3*36*c.chunks + fixed + size/(16<<20)*1024; c.meta > most {
		t.Errorf("metadata are %d bytes for %d chunks, want %d at most", c.meta, c.chunks, most)
	}
}
