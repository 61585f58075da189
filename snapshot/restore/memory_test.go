package restore

import (
	"errors"
	"runtime"
	"testing"

	"platter/chunk"
	"platter/repo/store"
	"platter/snapshot"
	"platter/snapshot/diskmap"
	"platter/snapshot/image"
	"platter/snapshot/snapshottest"
)

// nowhere is a target of zeros that records the memory in use at the end of the writes.
type nowhere struct {
	image.Sparse
	inUse int64
}

func (*nowhere) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }
func (*nowhere) Zero(int64, int64) error                { return nil }
func (*nowhere) DropCache(int64, int64) error           { return errors.ErrUnsupported }
func (n *nowhere) Sync() error {
	n.inUse = inUse()
	return nil
}

func inUse() int64 {
	runtime.GC()
	runtime.GC() // the second one empties pools
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestRestoreRemembersNoRegions checks that a restore of many regions takes no memory for each region.
func TestRestoreRemembersNoRegions(t *testing.T) {
	const count = 1 << 18
	mem := new(store.Mem)
	r := snapshottest.Repo(t, mem)
	s := &snapshot.Snapshot{Size: count * diskmap.RegionSize}
	snapshottest.KeepMaps(t, r, nil, func(save func([]byte) chunk.ID) {
		s.Root = snapshottest.WideMap(save, s.Size, diskmap.Piece{Kind: diskmap.Zeros, Len: diskmap.RegionSize})
	})
	r = snapshottest.Reopen(t, mem)
	target, before := &nowhere{Sparse: image.Sparse{Bytes: s.Size}}, inUse()
	f, err := newFilling(t.Context(), &content{s.Map(r), r}, target, Options{}, new(Result), nil)
	if err == nil {
		err = f.fill(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	if grown := target.inUse - before; grown > count*4 {
		t.Errorf("%d bytes for %d regions", grown, count)
	}
}
