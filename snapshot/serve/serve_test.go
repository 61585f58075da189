package serve_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sync/errgroup"

	"platter/pack"
	"platter/repo"
	"platter/repo/layout"
	"platter/repo/store"
	"platter/snapshot"
	"platter/snapshot/backup"
	"platter/snapshot/backup/backuptest"
	"platter/snapshot/image"
	"platter/snapshot/serve"
	"platter/snapshot/snapshottest"
)

// open opens a version in a Library of its own, which the test's end closes.
func open(t testing.TB, r *repo.Repo, s *snapshot.Snapshot, o serve.Options) *serve.Disk {
	t.Helper()
	l := serve.New(t.Context(), r, o)
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	d, err := l.Open(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestReads reads a disk of odd size from many goroutines, in streams and at random, with a cache that holds a few frames.
func TestReads(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 1))
	plain := snapshottest.RandomDisk(rnd, 24<<20+77)
	r := snapshottest.Repo(t, new(store.Mem))
	d := open(t, r, backuptest.Keep(t, r, image.Mem{Data: plain}), serve.Options{Memory: 8 << 20})
	g, ctx := errgroup.WithContext(t.Context())
	for worker := range 8 {
		rnd := rand.New(rand.NewPCG(2, uint64(worker)))
		g.Go(func() error {
			at, p := rnd.IntN(len(plain)), make([]byte, 1+rnd.IntN(600_000))
			for range 150 {
				if worker%2 == 0 && at < len(plain) {
					at += rnd.IntN(2) // sequential, almost
				} else {
					at = rnd.IntN(len(plain))
				}
				n, err := d.ReadAtContext(ctx, p, int64(at))
				want := plain[at:min(at+len(p), len(plain))]
				if !bytes.Equal(p[:n], want) || n < len(p) && err != io.EOF || n == len(p) && err != nil {
					return errors.Join(errors.New("other bytes than were stored"), err)
				}
				at += n
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	if n, err := d.ReadAt(make([]byte, 5), int64(len(plain))+3); n != 0 || err != io.EOF {
		t.Errorf("past the end: %d, %v", n, err)
	}
}

// TestUnreadable holds that unreadable ranges are errors, or zeros if that is wanted, and that extents say the same.
func TestUnreadable(t *testing.T) {
	plain := bytes.Repeat([]byte("platter "), 1<<17)
	known, err := image.ReadRescueMap(strings.NewReader("0x0 +\n0x0 0x40000 +\n0x40000 0x1000 -\n0x41000 0xbf000 +\n"))
	if err != nil {
		t.Fatal(err)
	}
	disk, err := image.NewRetrying(image.Mem{Data: plain}, known, image.RetryOptions{})
	if err != nil {
		t.Fatal(err)
	}
	r, s := snapshottest.Repo(t, new(store.Mem)), &snapshot.Snapshot{}
	if err := backup.Disk(t.Context(), r, disk, nil, s, nil); err != nil {
		t.Fatal(err)
	}
	for _, zeros := range []bool{false, true} {
		d := open(t, r, s, serve.Options{Zeros: zeros})
		p := make([]byte, 4096)
		if _, err := d.ReadAt(p, 0x3f000); err != nil || !bytes.Equal(p, plain[0x3f000:][:4096]) {
			t.Errorf("before it: %v", err)
		}
		n, err := d.ReadAt(p, 0x3f800)
		if zeros && (err != nil || !bytes.Equal(p[:2048], plain[:2048]) || !bytes.Equal(p[2048:], make([]byte, 2048))) {
			t.Errorf("into it: %d, %v", n, err)
		}
		if !zeros && !errors.Is(err, image.ErrUnreadable) {
			t.Errorf("into it: %v", err)
		}
		for e, err := range d.ExtentsIn(t.Context(), 0x40800, 16) {
			if err != nil || e != (image.Extent{Off: 0x40800, Len: 16, Zero: zeros}) {
				t.Errorf("%+v, %v", e, err)
			}
		}
	}
}

// TestHeldWhileOpen holds that a version cannot be forgotten while it is open and for a moment after, that opening it
// again in that moment puts no second lease, and that it can be forgotten afterwards.
func TestHeldWhileOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := new(store.Mem)
		r := snapshottest.Repo(t, mem)
		s := backuptest.Keep(t, r, image.Mem{Data: make([]byte, 5000)})
		l := serve.New(t.Context(), r, serve.Options{})
		defer l.Close()
		held := func() bool {
			read, err := snapshottest.Reopen(t, mem).Readers(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return read[s.ID].Work == repo.Serving
		}
		for range 3 {
			a, err := l.Open(t.Context(), s)
			if err != nil || !held() {
				t.Fatalf("not held while open: %v", err)
			}
			b, err := l.Open(t.Context(), s)
			if err != nil {
				t.Fatal(err)
			}
			a.Close()
			a.Close()
			time.Sleep(10 * time.Minute)
			if !held() {
				t.Fatal("not held while open a second time")
			}
			b.Close()
			time.Sleep(time.Second)
			if !held() {
				t.Fatal("the lease ended at once")
			}
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if held() {
			t.Fatal("held after it was closed")
		}
		if n, err := snapshottest.Reopen(t, mem).Forget(t.Context(), []pack.FileID{s.ID}); n != 1 || err != nil {
			t.Fatalf("forget: %d, %v", n, err)
		}
		if _, err := l.Open(t.Context(), s); !errors.Is(err, repo.ErrForgotten) {
			t.Errorf("a forgotten version opens: %v", err)
		}
	})
}

// TestClose holds that a closed Library ends reads and leases, and opens nothing.
func TestClose(t *testing.T) {
	mem := new(store.Mem)
	slow := &gatedStore{Store: mem}
	r := snapshottest.Repo(t, slow)
	s := backuptest.Keep(t, r, image.Mem{Data: snapshottest.RandomDisk(rand.New(rand.NewPCG(1, 1)), 4<<20)})
	l := serve.New(t.Context(), r, serve.Options{})
	d, err := l.Open(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	slow.closed.Store(true)
	l.Close()
	if _, err := d.ReadAt(make([]byte, 1), 0); !errors.Is(err, serve.ErrClosed) {
		t.Errorf("a read after Close: %v", err)
	}
	if _, err := l.Open(t.Context(), s); !errors.Is(err, serve.ErrClosed) {
		t.Errorf("an Open after Close: %v", err)
	}
	if files, err := layout.List(t.Context(), mem, layout.Work); err != nil || len(files) != 0 {
		t.Errorf("%d leases are left, %v", len(files), err)
	}
}

// A gatedStore fails reads of packs while it is closed.
type gatedStore struct {
	store.Store
	closed atomic.Bool
}

var errAway = errors.New("the NAS is away")

func (s *gatedStore) Get(ctx context.Context, name string, off, n int64) ([]byte, error) {
	if s.closed.Load() && strings.HasPrefix(name, layout.Packs) {
		return nil, errAway
	}
	return s.Store.Get(ctx, name, off, n)
}

// TestStoreAway holds that reads fail while the store does, also those that read-ahead was to serve, and work again at once
// when it is back.
func TestStoreAway(t *testing.T) {
	away := &gatedStore{Store: new(store.Mem)}
	r := snapshottest.Repo(t, away)
	plain := make([]byte, 12<<20)
	rand.NewChaCha8([32]byte{4}).Read(plain)
	d := open(t, r, backuptest.Keep(t, r, image.Mem{Data: plain}), serve.Options{Memory: 6 << 20})
	p := make([]byte, 128<<10)
	for round := range 4 {
		away.closed.Store(round%2 == 1)
		failed := 0
		for at := 0; at < len(plain); at += len(p) {
			n, err := d.ReadAt(p, int64(at))
			switch {
			case err == nil && !bytes.Equal(p, plain[at:][:len(p)]):
				t.Fatalf("other bytes at %d", at)
			case err != nil && (!errors.Is(err, errAway) || n > 0):
				t.Fatal(err)
			case err != nil:
				failed++
			}
		}
		if away := round%2 == 1; (failed > 0) != away {
			t.Errorf("round %d: %d reads failed", round, failed)
		}
	}
}

// TestPrunedMeanwhile reads an open version while another is forgotten and a prune moves chunks into other packs.
func TestPrunedMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := new(store.Mem)
		r := snapshottest.Repo(t, mem)
		plain := make([]byte, 12<<20)
		rand.NewChaCha8([32]byte{5}).Read(plain)
		first := backuptest.Keep(t, r, image.Mem{Data: plain})
		kept := bytes.Clone(plain)
		for at := 0; at+1<<20 <= len(kept); at += 2 << 20 {
			clear(kept[at:][:1<<20])
		}
		second := backuptest.Keep(t, r, image.Mem{Data: kept})
		served := snapshottest.Reopen(t, mem)
		l := serve.New(t.Context(), served, serve.Options{Memory: 1})
		defer l.Close()
		d, err := l.Open(t.Context(), second)
		if err != nil {
			t.Fatal(err)
		}
		other := snapshottest.Reopen(t, mem)
		if _, err := other.Forget(t.Context(), []pack.FileID{first.ID}); err != nil {
			t.Fatal(err)
		}
		before := served.Index()
		for range 2 {
			o := repo.PruneOptions{MaxRepack: 1 << 40}
			mark := func(ctx context.Context, ids []pack.FileID, m *repo.Marks) error {
				return snapshot.Mark(ctx, other, ids, m)
			}
			if _, err := other.Prune(t.Context(), o, mark, nil); err != nil {
				t.Fatal(err)
			}
			p := make([]byte, len(kept))
			if _, err := d.ReadAt(p, 0); err != nil || !bytes.Equal(p, kept) {
				t.Fatalf("after the prune: %v", err)
			}
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if served.Index() == before {
			t.Error("the index was not loaded again")
		}
	})
}
