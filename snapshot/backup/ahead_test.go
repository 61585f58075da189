package backup

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"testing/synctest"

	"platter/chunk"
	"platter/repo"
	"platter/repo/store"
	"platter/snapshot"
	"platter/snapshot/diskmap"
	"platter/snapshot/image"
	"platter/snapshot/snapshottest"
)

// A patchwork is a disk of given extents. It reports some of them as cached; reads of others may fail.
type patchwork struct {
	image.Mem
	extents []image.Extent
	cached  func(off int64) bool
	fail    func(off int64) error
}

func (d *patchwork) Extents() iter.Seq2[image.Extent, error] {
	return func(yield func(image.Extent, error) bool) {
		for _, e := range d.extents {
			if !yield(e, nil) {
				return
			}
		}
	}
}

func (d *patchwork) Cached(off, _ int64) bool { return d.cached != nil && d.cached(off) }

func (d *patchwork) ReadAt(p []byte, off int64) (int, error) {
	if d.fail != nil {
		if err := d.fail(off); err != nil {
			return 0, err
		}
	}
	return d.Mem.ReadAt(p, off)
}

// newPatchwork makes a disk with holes and data at odd offsets. Data is spread over several extents.
func newPatchwork(rnd *rand.Rand, size int) *patchwork {
	d := &patchwork{Mem: image.Mem{Data: make([]byte, size)}}
	noise := rand.NewChaCha8([32]byte{byte(rnd.Uint32())})
	for off := 0; off < size; {
		n := min(1+rnd.IntN(1<<rnd.IntN(26)), size-off)
		e := image.Extent{Off: int64(off), Len: int64(n), Zero: rnd.IntN(3) == 0}
		if !e.Zero {
			noise.Read(d.Data[off : off+n])
		}
		d.extents = append(d.extents, e)
		off += n
	}
	return d
}

// TestAheadReadsTheDisk checks that an ahead yields the disk. Holes, the bytes that the cutter needs to see, cached
// extents and the length of each step must not matter.
func TestAheadReadsTheDisk(t *testing.T) {
	seeds := uint64(12)
	if testing.Short() {
		seeds = 3
	}
	for seed := range seeds {
		rnd := rand.New(rand.NewPCG(seed, 5))
		disk := newPatchwork(rnd, diskmap.RegionSize/2+rnd.IntN(2*diskmap.RegionSize))
		share := rnd.Uint64N(5) // of cached extents, in quarters
		disk.cached = func(off int64) bool { return uint64(off)>>20*0x9e3779b97f4a7c15>>32%4 < share }
		b, jobs := &run{}, make(chan regionJob, 8)
		if err := b.feed(t.Context(), disk, jobs); err != nil {
			t.Fatal(err)
		}
		close(jobs)
		need := 1 + rnd.IntN(1<<rnd.IntN(24))
		a := newAhead(newDiskReader(disk, b, jobs, new(firstFault)), need)
		got := make([]byte, len(disk.Data))
		err := a.run(t.Context(), func(ctx context.Context) error { return drain(ctx, a, need, rnd, got) })
		if err != nil || !bytes.Equal(got, disk.Data) {
			t.Fatalf("seed %d, %d bytes, %d needed at once: %v, or another disk", seed, len(got), need, err)
		}
	}
}

// TestHolesAreZeros backs up disks with and without reading their holes, and expects the same snapshot. The cutter does
// not see holes of whole slots. They lie among short holes, data that ends or starts in zeros, and ends of regions.
func TestHolesAreZeros(t *testing.T) {
	s := new(store.Mem)
	r := tinyChunks(t, s)
	rounds := uint64(12)
	if testing.Short() {
		rounds = 4
	}
	for seed := range rounds {
		rnd := rand.New(rand.NewPCG(seed, 77))
		disk := make([]byte, rnd.IntN(3)*diskmap.RegionSize/2+rnd.IntN(8*slotLen))
		noise := rand.NewChaCha8([32]byte{byte(seed)})
		for off := rnd.IntN(3)*slotLen + rnd.IntN(8)*chunk.Block; off < len(disk); {
			n := min(1+rnd.IntN(9*chunk.Block), len(disk)-off)
			noise.Read(disk[off : off+n])
			clear(disk[off:][:min(n, rnd.IntN(4*chunk.Block))])
			off += n + rnd.IntN([]int{2 * chunk.MinZeroRun, 2 * slotLen, 9 * slotLen}[rnd.IntN(3)])
			if rnd.IntN(3) == 0 {
				off = (off + slotLen - 1) / slotLen * slotLen
			}
		}
		read := keep(t, r, image.Mem{Data: disk})
		skipped := keep(t, r, image.Mem{Data: disk, Holes: true})
		if read.Root != skipped.Root || skipped.Stats.New > 0 {
			t.Fatalf("seed %d: a disk of %d bytes is another one with its holes", seed, len(disk))
		}
		mustBeWhole(t, s, skipped, disk)
	}
}

// drain copies all that a yields to disk, in steps of any length.
func drain(ctx context.Context, a *ahead, need int, rnd *rand.Rand, disk []byte) error {
	for {
		job, ok, err := a.region(ctx)
		if err != nil || !ok {
			return err
		}
		off := job.region * diskmap.RegionSize
		for {
			for !a.final && len(a.ring.view()) < need {
				if err := a.more(ctx); err != nil {
					return err
				}
			}
			held := a.ring.view()
			if len(held) == 0 {
				break
			}
			n := 1 + rnd.IntN(len(held))
			off += int64(copy(disk[off:], held[:n]))
			a.ring.take(n)
		}
	}
}

// TestFirstFaultIsReported checks that of several unreadable places, the first on the disk is reported. How many
// workers meet which of them first must not matter.
func TestFirstFaultIsReported(t *testing.T) {
	size := int64(5 * diskmap.RegionSize)
	broken := errors.New("the medium is broken")
	disk := &patchwork{Mem: image.Mem{Data: make([]byte, size)}, extents: []image.Extent{{Len: size}}}
	s := new(store.Mem)
	snapshottest.Repo(t, s)
	for _, at := range []int64{0, 3 << 20, diskmap.RegionSize - 1<<20, diskmap.RegionSize + 7<<20} {
		disk.fail = func(off int64) error {
			if off >= at && (off-at)%(3<<20) == 0 {
				return broken
			}
			return nil
		}
		for _, workers := range []int{1, 2, 5} {
			r := snapshottest.Reopen(t, s)
			r.SetWorkers(workers)
			err := Disk(context.Background(), r, disk, nil, &snapshot.Snapshot{Name: "x"}, nil)
			if want := "read at " + strconv.FormatInt(at, 10) + ": "; !errors.Is(err, broken) || !strings.Contains(err.Error(), want) {
				t.Fatalf("%d workers: %v, want %q", workers, err, want)
			}
		}
	}
}

// TestCancelledBackupEnds cancels a backup in the middle of a read. The bubble fails if a goroutine outlives it.
func TestCancelledBackupEnds(t *testing.T) {
	for _, cached := range []bool{false, true} {
		s := new(store.Mem)
		snapshottest.Repo(t, s)
		r := snapshottest.Reopen(t, s)
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			var reads atomic.Int64
			disk := &patchwork{Mem: image.Mem{Data: make([]byte, 3*diskmap.RegionSize)}, extents: []image.Extent{{Len: 3 * diskmap.RegionSize}}}
			disk.cached = func(int64) bool { return cached }
			disk.fail = func(int64) error {
				if reads.Add(1) == 20 {
					cancel()
				}
				return nil
			}
			err := Disk(ctx, r, disk, nil, &snapshot.Snapshot{Name: "x"}, nil)
			if !errors.Is(err, context.Canceled) || reads.Load() > 20+int64(r.Workers())*(slotsAhead+2) {
				t.Errorf("%v after %d reads", err, reads.Load())
			}
		})
	}
}

// A waiting stream yields nothing until it is closed.
type waiting struct{ closed chan struct{} }

func (w waiting) Read([]byte) (int, error) {
	<-w.closed
	return 0, io.ErrClosedPipe
}

func (w waiting) Close() error {
	close(w.closed)
	return nil
}

func TestCancelledStreamEnds(t *testing.T) {
	s := new(store.Mem)
	snapshottest.Repo(t, s)
	r := snapshottest.Reopen(t, s)
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			synctest.Wait() // the backup waits for its stream
			cancel()
		}()
		err := Stream(ctx, r, waiting{make(chan struct{})}, nil, &snapshot.Snapshot{Name: "x"}, nil)
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

// TestBrokenStreamIsNoDisk checks that a stream that broke off leaves no snapshot. Its error may even be the one that a
// reader of whole buffers returns for an end.
func TestBrokenStreamIsNoDisk(t *testing.T) {
	data := snapshottest.RandomDisk(rand.New(rand.NewPCG(8, 8)), 3<<20)
	for _, n := range []int{0, 1, 1 << 20, 3 << 20} {
		s := new(store.Mem)
		r := snapshottest.Repo(t, s)
		src := io.MultiReader(bytes.NewReader(data[:n]), iotest.ErrReader(io.ErrUnexpectedEOF))
		err := Stream(context.Background(), r, src, nil, &snapshot.Snapshot{Name: "x"}, nil)
		if snaps, _, _ := snapshot.Load(context.Background(), r); !errors.Is(err, io.ErrUnexpectedEOF) || len(snaps) > 0 {
			t.Errorf("after %d bytes: %v, %d snapshots", n, err, len(snaps))
		}
	}
}

// TestCuttingAllocatesNothing checks that the number of allocations does not grow with the number of chunks.
func TestCuttingAllocatesNothing(t *testing.T) {
	r := snapshottest.Repo(t, new(store.Mem))
	large := int64(diskmap.RegionSize)
	if testing.Short() {
		large = 16 << 20
	}
	for _, guided := range []bool{false, true} {
		var allocs []float64
		for _, size := range []int64{2 << 20, large} {
			withCut(t, r, size, guided, func(w *regionWorker, cut func()) {
				cut() // the first time, chunks are new and slices grow
				least := testing.AllocsPerRun(1, cut)
				for range 2 { // a garbage collection empties pools, and then something is allocated once more
					least = min(least, testing.AllocsPerRun(1, cut))
				}
				allocs = append(allocs, least)
				if want := int(size / (200 << 10)); len(w.pieces) < want {
					t.Errorf("%d pieces, want more than %d", len(w.pieces), want)
				}
			})
		}
		if slices.Max(allocs) > 8 {
			t.Errorf("guided %v: %v allocations for a region of 2 MiB and one of %d", guided, allocs, large)
		}
	}
}

// withCut passes fn a worker, and a function that cuts the first region of a disk of size bytes again.
func withCut(t testing.TB, r *repo.Repo, size int64, guided bool, fn func(w *regionWorker, cut func())) {
	t.Helper()
	disk := &patchwork{Mem: image.Mem{Data: make([]byte, size)}, extents: []image.Extent{{Len: size}}}
	rand.NewChaCha8([32]byte{1}).Read(disk.Data)
	disk.cached = func(int64) bool { return true }
	withCutOf(t, r, disk, guided, fn)
}

func withCutOf(t testing.TB, r *repo.Repo, disk image.Disk, guided bool, fn func(w *regionWorker, cut func())) {
	t.Helper()
	_, err := r.Write(context.Background(), func(ctx context.Context, writer *repo.Writer) error {
		b, jobs := &run{repo: r, writer: writer}, make(chan regionJob, 1)
		w, err := b.worker(newDiskReader(disk, b, jobs, new(firstFault)))
		if err != nil {
			return err
		}
		job := regionJob{data: []image.Extent{{Len: disk.Size()}}}
		var before []diskmap.Piece
		return w.ahead.run(ctx, func(ctx context.Context) error {
			fn(w, func() {
				jobs <- job
				_, ok, err := w.ahead.region(ctx)
				if w.old = (trail{pieces: before}); err == nil && ok {
					err = w.cut(ctx)
				}
				if err != nil || !ok {
					t.Fatal(ok, err)
				}
				if guided && before == nil {
					before = slices.Clone(w.pieces)
				}
			})
			return w.lane.Close(ctx)
		})
	})
	if err != nil {
		t.Fatal(err)
	}
}

// BenchmarkCut cuts a region whose chunks are all in the repository: with a search for cuts, and guided by the parent.
func BenchmarkCut(b *testing.B) {
	for name, guided := range map[string]bool{"searching": false, "guided": true} {
		b.Run(name, func(b *testing.B) {
			withCut(b, snapshottest.Repo(b, new(store.Mem)), diskmap.RegionSize, guided, func(_ *regionWorker, cut func()) {
				cut()
				b.SetBytes(diskmap.RegionSize)
				b.ReportAllocs()
				for b.Loop() {
					cut()
				}
			})
		})
	}
}
