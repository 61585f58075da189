package snapshot_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"golang.org/x/sync/errgroup"

	"platter/pack"
	"platter/repo"
	"platter/repo/layout"
	"platter/repo/store"
	"platter/repo/store/storetest"
	"platter/snapshot"
	"platter/snapshot/backup/backuptest"
	"platter/snapshot/diskmap"
	"platter/snapshot/image"
	"platter/snapshot/snapshottest"
)

// edges returns where the chunks of a snapshot's disk begin and end.
func edges(t *testing.T, r *repo.Repo, s *snapshot.Snapshot) (at []int) {
	t.Helper()
	m := s.Map(r)
	for reg, err := range m.Regions(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		places, err := m.Places(t.Context(), reg.Index, reg.Page)
		if err != nil {
			t.Fatal(err)
		}
		for _, q := range places {
			at = append(at, int(q.Off), int(q.End()))
		}
	}
	return at
}

// TestDiskReads reads a disk of three regions at random places and at edges of chunks, from many goroutines, with a cache of
// its own and with one that another disk shares. It gets the bytes that were kept.
func TestDiskReads(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	size := 2*diskmap.RegionSize + 5<<20 + 77
	plain := make([]byte, size)
	for _, off := range []int{0, diskmap.RegionSize - 3<<20, 2*diskmap.RegionSize - 2<<20} {
		copy(plain[off:], snapshottest.RandomDisk(rnd, 6<<20))
	}
	r := snapshottest.Repo(t, new(store.Mem))
	s := backuptest.Keep(t, r, image.Mem{Data: plain})
	cuts := edges(t, r, s)
	own, err := s.Open(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	frames := r.Frames(3 << 20)
	shared, err := s.OpenOn(t.Context(), frames)
	if err != nil {
		t.Fatal(err)
	}
	again, err := s.OpenOn(t.Context(), frames)
	if err != nil {
		t.Fatal(err)
	}
	g, ctx := errgroup.WithContext(t.Context())
	for i, disk := range []io.ReaderAt{own, own, shared, again} {
		rnd := rand.New(rand.NewPCG(uint64(i), 5))
		g.Go(func() error {
			for range 300 {
				if err := readsLike(disk, plain, cuts, rnd); err != nil {
					return err
				}
			}
			return ctx.Err()
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
}

// readsLike reads a run of a disk and compares it with the same run of plain. It begins or ends, often, near one of the cuts.
func readsLike(disk io.ReaderAt, plain []byte, cuts []int, rnd *rand.Rand) error {
	size, cut := len(plain), cuts[rnd.IntN(len(cuts))]-1+rnd.IntN(3)
	n := rnd.IntN([]int{10, 4096, 200_000, 9 << 20}[rnd.IntN(4)])
	off := max(0, []int{rnd.IntN(size), cut, cut - n, size - rnd.IntN(5000)}[rnd.IntN(4)])
	p := make([]byte, n)
	for i := range p {
		p[i] = 0xA5
	}
	want := plain[min(off, size):min(off+len(p), size)]
	n, err := disk.ReadAt(p, int64(off))
	switch {
	case n != len(want) || !bytes.Equal(p[:n], want):
		return errors.New("other bytes than were kept")
	case n < len(p) && err != io.EOF:
		return errors.Join(errors.New("a read past the end ends with another error"), err)
	case n == len(p):
		return err
	}
	return nil
}

// TestDiskContexts checks that a context ends the call that it is of, and no other.
func TestDiskContexts(t *testing.T) {
	mem := &storetest.Faulty{Store: new(store.Mem)}
	plain := phrases(6 << 20)
	r := snapshottest.Repo(t, mem)
	s := backuptest.Keep(t, r, image.Mem{Data: plain})
	opened, end := context.WithCancel(t.Context())
	defer end()
	disk, err := s.Open(opened, r)
	if err != nil {
		t.Fatal(err)
	}
	inside := make(chan struct{})
	mem.Got = storetest.In(layout.Packs, func(ctx context.Context, _ string, _ int64, _ []byte) error {
		close(inside)
		<-ctx.Done()
		return ctx.Err()
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		_, err := disk.ReadAtContext(ctx, make([]byte, 4096), 0)
		ended <- err
	}()
	<-inside
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Fatalf("the cancelled call ends with %v", err)
	}
	mem.Got = nil
	p := make([]byte, 4096)
	if n, err := disk.ReadAt(p, 0); err != nil || !bytes.Equal(p[:n], plain[:4096]) {
		t.Fatalf("the call after it: %d bytes, %v", n, err)
	}
	for _, off := range []int64{0, 5 << 20} { // what is kept, and what is not
		if _, err := disk.ReadAtContext(ctx, p, off); !errors.Is(err, context.Canceled) {
			t.Errorf("a call with a context that has ended: %v", err)
		}
	}
	end()
	if _, err := disk.ReadAt(p, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("ReadAt after the context of Open has ended: %v", err)
	}
	if _, err := disk.ReadAtContext(t.Context(), p, 0); err != nil {
		t.Errorf("ReadAtContext after the context of Open has ended: %v", err)
	}
}

// TestDiskDamage checks that a disk whose frames are damaged reads as an error every time, and as it was once they are not.
func TestDiskDamage(t *testing.T) {
	mem := &storetest.Faulty{Store: new(store.Mem)}
	plain := phrases(1 << 20)
	r := snapshottest.Repo(t, mem)
	s := backuptest.Keep(t, r, image.Mem{Data: plain})
	disk, err := s.Open(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 4096)
	if _, err := disk.ReadAt(make([]byte, 1), s.Size); err != io.EOF {
		t.Fatal(err)
	}
	damaged := atomic.Bool{}
	mem.Got = storetest.In(layout.Packs, func(_ context.Context, _ string, _ int64, data []byte) error {
		if damaged.Load() && len(data) > 64<<10 { // a frame of data: the maps are shorter
			data[len(data)/2] ^= 1
		}
		return nil
	})
	damaged.Store(true)
	for range 3 {
		if _, err := disk.ReadAt(p, 512<<10); !errors.Is(err, pack.ErrDamaged) {
			t.Fatalf("a damaged frame reads with %v", err)
		}
	}
	damaged.Store(false)
	if _, err := disk.ReadAt(p, 512<<10); err != nil || !bytes.Equal(p, plain[512<<10:][:4096]) {
		t.Fatalf("once it is whole: %v", err)
	}
}
