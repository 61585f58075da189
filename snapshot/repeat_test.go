package snapshot_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"platter/chunk"
	"platter/repo"
	"platter/repo/store"
	"platter/snapshot"
	"platter/snapshot/backup/backuptest"
	"platter/snapshot/diskmap"
	"platter/snapshot/heal"
	"platter/snapshot/image"
	"platter/snapshot/snapshottest"
)

// lostPieces fill a region; no index file lists their chunks.
func lostPieces(rnd *rand.Rand, length int64) (pieces []diskmap.Piece) {
	kind := diskmap.PieceKind(rnd.IntN(3))
	for length > 0 {
		q := diskmap.Piece{Kind: kind, Len: uint32(min(length, 1+rnd.Int64N(diskmap.RegionSize)))}
		if kind == diskmap.Data {
			q.ID = chunk.ID{1, byte(rnd.IntN(2))}
			kind = diskmap.PieceKind(rnd.IntN(3))
		} else {
			kind = diskmap.Data
		}
		pieces, length = append(pieces, q), length-int64(q.Len)
	}
	return pieces
}

// A repeater makes maps of few subtrees, each of which may occur in many places.
type repeater struct {
	rnd   *rand.Rand
	save  func([]byte) chunk.ID
	pools [3][]chunk.ID // of whole subtrees, by level
}

func (m *repeater) build(level int, width int64) chunk.ID {
	whole := int64(diskmap.RegionSize) << (8 * level)
	if width == whole && len(m.pools[level]) > 2 {
		return m.pools[level][m.rnd.IntN(len(m.pools[level]))]
	}
	var data []byte
	if level == 0 {
		data = diskmap.AppendPage(nil, lostPieces(m.rnd, width))
	} else {
		var n diskmap.Node
		for i := 0; diskmap.ChildOffset(level, i) < width; i++ {
			n[i] = m.build(level-1, min(whole/diskmap.FanOut, width-diskmap.ChildOffset(level, i)))
		}
		n[0] = m.build(level-1, min(whole/diskmap.FanOut, width)) // not a zero ID
		data = n.AppendTo(nil, level)
	}
	id := m.save(data)
	if width == whole {
		m.pools[level] = append(m.pools[level], id)
	}
	return id
}

// plainRuns collects the ranges of a map by visiting every place.
func plainRuns(t *testing.T, m *diskmap.Map, which func(diskmap.Piece) bool) (out []diskmap.Range, data int64) {
	t.Helper()
	join := func(off, n int64) {
		if last := len(out) - 1; last >= 0 && out[last].Off+out[last].Len == off {
			out[last].Len += n
		} else {
			out = append(out, diskmap.Range{Off: off, Len: n})
		}
	}
	var walk func(level int, at int64, id chunk.ID)
	walk = func(level int, at int64, id chunk.ID) {
		from, to := m.Span(level, at)
		switch {
		case id.IsZero():
		case level == 0:
			pieces, err := m.Page(t.Context(), at, id)
			if err != nil {
				join(from, to-from)
				return
			}
			for _, q := range pieces {
				if q.Kind == diskmap.Data {
					data += int64(q.Len)
				}
				if which(q) {
					join(from, int64(q.Len))
				}
				from += int64(q.Len)
			}
		default:
			n, err := m.Node(t.Context(), level, id)
			if err != nil {
				join(from, to-from)
				return
			}
			for i, child := range n {
				walk(level-1, at*diskmap.FanOut+int64(i), child)
			}
		}
	}
	walk(diskmap.Height(m.Size()), 0, m.Root())
	return out, data
}

// TestRepeatedSubtrees makes disks of a few pages and nodes that occur in many places; no index file lists some of
// them. It compares what is lost, what is marked as lost, and where two disks differ with a plain walk over all places.
func TestRepeatedSubtrees(t *testing.T) {
	for seed := range uint64(30) {
		if testing.Short() && seed > 5 {
			break
		}
		rnd := rand.New(rand.NewPCG(seed, 52))
		for _, damaged := range []bool{false, true} {
			r := snapshottest.Repo(t, new(store.Mem))
			var disks []*snapshot.Snapshot
			for i := range 3 {
				size := []int64{diskmap.RegionSize, 3 * diskmap.RegionSize, diskmap.FanOut * diskmap.RegionSize, 3 * diskmap.FanOut * diskmap.RegionSize}[rnd.IntN(4)] - rnd.Int64N(2)*rnd.Int64N(diskmap.RegionSize)
				disks = append(disks, &snapshot.Snapshot{Name: fmt.Sprint(i), Size: size})
			}
			snapshottest.KeepMaps(t, r, disks, func(save func([]byte) chunk.ID) {
				m := &repeater{rnd: rnd, save: save}
				m.pools[0] = make([]chunk.ID, 1) // zeros
				if damaged {
					m.pools[0], m.pools[1] = append(m.pools[0], chunk.ID{2}), []chunk.ID{{3}}
				}
				for _, s := range disks {
					s.Root = m.build(diskmap.Height(s.Size), s.Size)
				}
			})
			compareRepeated(t, r, disks, damaged)
			if t.Failed() {
				t.Fatalf("seed %d", seed)
			}
		}
	}
}

func compareRepeated(t *testing.T, r *repo.Repo, disks []*snapshot.Snapshot, damaged bool) {
	t.Helper()
	lost := map[string][]diskmap.Range{}
	losses, err := snapshot.CheckMaps(t.Context(), r, disks, func(chunk.ID) error { return nil })
	for _, l := range losses {
		lost[l.Snapshot.Name] = slices.Collect(l.Ranges.All())
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range disks {
		want, data := plainRuns(t, s.Map(r), func(q diskmap.Piece) bool { return q.Kind == diskmap.Data })
		if fmt.Sprint(lost[s.Name]) != fmt.Sprint(want) {
			t.Errorf("lost of %d bytes: %.400v; want %.400v", s.Size, lost[s.Name], want)
		}
		if damaged {
			continue
		}
		marked, _ := plainRuns(t, s.Map(r), func(q diskmap.Piece) bool { return q.Kind == diskmap.Unreadable })
		all, err := snapshot.MeasureMap(t.Context(), s.Map(r))
		if err != nil || all.Data != data || fmt.Sprint(slices.Collect(all.Unreadable.All())) != fmt.Sprint(marked) {
			t.Errorf("of %d bytes: %+v, %v; want %d bytes of data and %.400v", s.Size, all, err, data, marked)
		}
		other := disks[0]
		diff, err := snapshot.Diff(t.Context(), r, s, other, s.Whole(), other.Whole())
		if err != nil || fmt.Sprint(slices.Collect(diff.All())) != fmt.Sprint(plainDiff(t, r, s, other)) {
			t.Errorf("%d bytes and %d differ in %.400v; want %.400v (%v)", s.Size, other.Size, slices.Collect(diff.All()), plainDiff(t, r, s, other), err)
		}
	}
}

// plainDiff compares two disks region by region.
func plainDiff(t *testing.T, r *repo.Repo, a, b *snapshot.Snapshot) []diskmap.Range {
	t.Helper()
	out, common := new(diskmap.Runs), min(a.Size, b.Size)
	pages := snapshot.DiffPages(t.Context(), a.Map(r), b.Map(r), common)
	for at := range diskmap.RegionCount(common) {
		pa, errA := a.Map(r).PageID(t.Context(), at)
		pb, errB := b.Map(r).PageID(t.Context(), at)
		below, err := pages(at, pa, pb)
		if errA != nil || errB != nil || err != nil {
			t.Fatal(errA, errB, err)
		}
		for q := range below.All() {
			out.Add(at*diskmap.RegionSize+q.Off, q.Len)
		}
	}
	out.Add(common, max(a.Size, b.Size)-common)
	return slices.Collect(out.All())
}

// TestEndlessDisk checks that a walk over the map of a disk of 2^36 equal regions visits each page and node once, and
// still counts what is lost. Anybody with the keys can make such a map from six chunks.
func TestEndlessDisk(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	const size, count = 1 << 62, 1 << 36
	mem := new(store.Mem)
	r := snapshottest.Repo(t, mem)
	zeros, data, bad := &snapshot.Snapshot{Name: "zeros", Size: size}, &snapshot.Snapshot{Name: "data", Size: size}, &snapshot.Snapshot{Name: "bad", Size: size, Unreadable: 1}
	all := []*snapshot.Snapshot{zeros, data, bad}
	const half = diskmap.RegionSize / 2
	snapshottest.KeepMaps(t, r, all, func(save func([]byte) chunk.ID) {
		zeros.Root = snapshottest.WideMap(save, size, diskmap.Piece{Kind: diskmap.Zeros, Len: diskmap.RegionSize})
		data.Root = snapshottest.WideMap(save, size, diskmap.Piece{Kind: diskmap.Zeros, Len: half}, diskmap.Piece{Len: half, ID: chunk.ID{1}})
		bad.Root = snapshottest.WideMap(save, size, diskmap.Piece{Kind: diskmap.Unreadable, Len: half}, diskmap.Piece{Kind: diskmap.Zeros, Len: half})
	})
	losses, err := snapshot.CheckMaps(ctx, r, all, func(chunk.ID) error { return nil })
	if err != nil || len(losses) != 1 || losses[0].Snapshot != data || len(losses[0].Reasons) != 1 {
		t.Fatalf("check: %+v, %v", losses, err)
	}
	lost, err := snapshot.Lost(ctx, r, bad)
	if err != nil {
		t.Fatal(err)
	}
	diff, err := snapshot.Diff(ctx, r, zeros, data, zeros.Whole(), data.Whole())
	if err != nil {
		t.Fatal(err)
	}
	for i, runs := range []*diskmap.Runs{losses[0].Ranges, lost, diff} {
		off := int64(half)
		if runs == lost {
			off = 0
		}
		first, more, bytes := runs.First(2)
		if runs.Count != count || runs.Bytes != size/2 || fmt.Sprint(first) != fmt.Sprint([]diskmap.Range{{Off: off, Len: half}, {Off: off + diskmap.RegionSize, Len: half}}) ||
			more != count-2 || bytes != size/2-diskmap.RegionSize {
			t.Errorf("%d: %d ranges of %d bytes: %v, then %d of %d", i, runs.Count, runs.Bytes, first, more, bytes)
		}
	}
	if _, err := snapshot.Measure(ctx, r, all); err != nil {
		t.Error(err)
	}
	done, err := heal.RepairSnapshots(ctx, snapshottest.Reopen(t, mem), heal.RepairOptions{Write: true}, nil)
	if err != nil || len(done.Snapshots) != 1 || done.Snapshots[0].New == nil || done.Snapshots[0].New.Unreadable != size/2 {
		t.Errorf("repair: %+v, %v", done, err)
	}
}

// TestManyReasons checks that only the first of many reasons are listed, and that a later reason with a remedy is not
// forgotten.
func TestManyReasons(t *testing.T) {
	mem := new(store.Mem)
	r := snapshottest.Repo(t, mem)
	backuptest.Keep(t, r, image.Mem{Data: snapshottest.RandomDisk(rand.New(rand.NewPCG(1, 54)), 1<<20)})
	r = snapshottest.Reopen(t, mem)
	all, _, err := snapshot.Load(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	pieces, err := all[0].Map(r).Page(t.Context(), 0, all[0].Root)
	if err != nil {
		t.Fatal(err)
	}
	at := slices.IndexFunc(pieces, func(q diskmap.Piece) bool { return q.Kind == diskmap.Data })
	for _, missing := range []bool{false, true} {
		s := &snapshot.Snapshot{Name: "many", Size: 1 << 20}
		snapshottest.KeepMaps(t, r, []*snapshot.Snapshot{s}, func(save func([]byte) chunk.ID) {
			var many []diskmap.Piece
			left := uint32(s.Size)
			for n := uint32(1); n <= 100; n++ { // too short
				many, left = append(many, diskmap.Piece{Len: n, ID: pieces[at].ID}), left-n
			}
			last := diskmap.Piece{Kind: diskmap.Zeros, Len: left}
			if missing {
				last = diskmap.Piece{Len: left, ID: chunk.ID{1}}
			}
			s.Root = save(diskmap.AppendPage(nil, append(many, last)))
		})
		losses, err := snapshot.CheckMaps(t.Context(), r, []*snapshot.Snapshot{s}, func(chunk.ID) error { return nil })
		if err != nil || len(losses) != 1 || len(losses[0].Reasons) != snapshot.MaxReasons+1 || losses[0].Reasons[snapshot.MaxReasons] != snapshot.ErrMoreReasons || losses[0].Missing != missing {
			t.Errorf("%+v, %v", losses, err)
		}
	}
}
