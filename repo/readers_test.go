package repo

import (
	"context"
	"errors"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"platter/pack"
	"platter/repo/layout"
	"platter/repo/lease"
	"platter/repo/store"
	"platter/repo/store/storetest"
)

// A far store is on a file system that reports how old its listings may be.
type far struct {
	store.Store
	lag       store.Lag
	refreshed []string
}

func (f *far) Lag() store.Lag { return f.lag }

func (f *far) Refresh(_ context.Context, dir string) error {
	f.refreshed = append(f.refreshed, dir)
	return nil
}

// TestReadingHolds checks that a version that is being read is neither forgotten nor pruned, whichever program tries,
// and that both errors name the reader.
func TestReadingHolds(t *testing.T) {
	ctx := context.Background()
	mem := new(store.Mem)
	testRepo(t, mem)
	first := keepChunks(t, reopen(t, mem), noiseChunks(1, 30, 50000))
	err := reopen(t, mem).Reading(ctx, Restoring, []pack.FileID{first}, func(context.Context) error {
		read, err := reopen(t, mem).Readers(ctx)
		if err != nil || read[first].Work != Restoring || len(read) != 1 {
			t.Errorf("readers: %v, %v", read, err)
		}
		n, err := reopen(t, mem).Forget(ctx, []pack.FileID{first})
		if held, ok := errors.AsType[*HeldError](err); n != 0 || !ok || held.By.Work != Restoring || !errors.Is(err, ErrInUse) {
			t.Errorf("forget: %d, %v", n, err)
		}
		wantSnapshots(t, mem, first)
		// An older program that knows no readers' leases:
		file, err := mem.Get(ctx, layout.Name(layout.Snapshots, first), 0, layout.MaxSnapshot)
		if _, failed := reopen(t, mem).forget(ctx, []pack.FileID{first}); failed != nil || err != nil {
			return errors.Join(err, failed)
		}
		for range 2 {
			done := mustPrune(t, reopen(t, mem), PruneOptions{})
			if done.Deleted.Packs != 0 || done.Pending.Packs == 0 || len(done.AtWork) != 1 || done.AtWork[0].Work != Restoring {
				t.Errorf("prune: %+v", done)
			}
		}
		return mem.Put(ctx, layout.Name(layout.Snapshots, first), file)
	})
	if err != nil {
		t.Fatal(err)
	}
	wantSnapshots(t, mem, first)
	if n, err := reopen(t, mem).Forget(ctx, []pack.FileID{first}); n != 1 || err != nil {
		t.Fatalf("after it: %d, %v", n, err)
	}
	if done := mustPrune(t, reopen(t, mem), PruneOptions{}); done.After.Packs != 0 || countIn(t, mem, layout.Work) != 0 {
		t.Errorf("after it: %+v, %d files of work", done, countIn(t, mem, layout.Work))
	}
}

// TestReadingLetsOthersBe checks that a reader of one version does not keep others from being pruned.
func TestReadingLetsOthersBe(t *testing.T) {
	ctx := context.Background()
	mem := new(store.Mem)
	testRepo(t, mem)
	first := keepChunks(t, reopen(t, mem), noiseChunks(1, 30, 50000))
	second := keepChunks(t, reopen(t, mem), noiseChunks(2, 30, 50000))
	err := reopen(t, mem).Reading(ctx, Exporting, []pack.FileID{second}, func(context.Context) error {
		if _, err := reopen(t, mem).Forget(ctx, []pack.FileID{first}); err != nil {
			return err
		}
		if done := mustPrune(t, reopen(t, mem), PruneOptions{}); done.Deleted.Packs == 0 || done.Pending.Packs != 0 || len(done.AtWork) != 0 {
			t.Errorf("%+v", done)
		}
		wantSnapshots(t, mem, second)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestReadingOfForgotten checks that a missing version is not read, although a listing showed it.
func TestReadingOfForgotten(t *testing.T) {
	mem := new(store.Mem)
	testRepo(t, mem)
	first := keepChunks(t, reopen(t, mem), noiseChunks(1, 3, 50000))
	r := reopen(t, mem)
	if err := mem.Delete(t.Context(), layout.Name(layout.Snapshots, first)); err != nil {
		t.Fatal(err)
	}
	err := r.Reading(t.Context(), Restoring, []pack.FileID{first}, func(context.Context) error {
		t.Error("it is read")
		return nil
	})
	if !errors.Is(err, ErrForgotten) || countIn(t, mem, layout.Work) != 0 {
		t.Errorf("%v, %d files of work", err, countIn(t, mem, layout.Work))
	}
}

// TestForgetBesideReaders begins to read a version at each moment while it is being forgotten. Either it stays, or it
// is not read, or its data stay until it was read.
func TestForgetBesideReaders(t *testing.T) {
	ctx := context.Background()
	both := map[bool]int{}
	for at := range 40 {
		mem := new(store.Mem)
		testRepo(t, mem)
		first := keepChunks(t, reopen(t, mem), noiseChunks(1, 3, 50000))
		r, calls := reopen(t, mem), 0
		var ended chan struct{}
		release := make(chan struct{})
		reading := false
		begin := func() {
			began := make(chan struct{})
			ended = make(chan struct{})
			reader := reopen(t, mem)
			go func() {
				defer close(ended)
				err := reader.Reading(ctx, Restoring, []pack.FileID{first}, func(context.Context) error {
					reading = true
					close(began)
					<-release
					return nil
				})
				if err != nil {
					close(began)
				}
			}()
			<-began
		}
		r.setStore(storetest.Watch(mem, func(string, string) {
			if calls++; calls-1 == at {
				begin()
			}
		}))
		_, err := r.Forget(ctx, []pack.FileID{first})
		if ended == nil {
			break // the forget ends before
		}
		there := countIn(t, mem, layout.Snapshots) == 1
		if held := errors.Is(err, ErrInUse); there != held || held && !reading {
			t.Errorf("call %d: reading %v, there %v, %v", at, reading, there, err)
		}
		if reading && !there {
			if done := mustPrune(t, reopen(t, mem), PruneOptions{Sure: true}); done.Deleted.Packs != 0 || len(done.AtWork) != 1 {
				t.Errorf("call %d: a prune deletes what is being read: %+v", at, done)
			}
		}
		both[reading]++
		close(release)
		<-ended
	}
	if both[true] == 0 || both[false] == 0 {
		t.Errorf("read, or not: %v", both)
	}
}

// TestUnknownLag checks that a prune asks for the age of listings if it is unknown, and that a backup waits
// accordingly.
func TestUnknownLag(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &far{Store: new(store.Mem)}
		testRepo(t, s)
		s.lag = store.Lag{Unknown: "fuse.rclone"}
		r := reopen(t, s)
		_, err := r.Prune(t.Context(), PruneOptions{Lag: -1}, markModel(r), nil)
		if unknown, ok := errors.AsType[*UnknownLagError](err); !ok || unknown.FileSystem != "fuse.rclone" || !errors.Is(err, ErrUnknownLag) {
			t.Errorf("prune: %v", err)
		}
		for _, grace := range []time.Duration{0, time.Second, -1} {
			r, want := reopen(t, s), grace
			if grace < 0 {
				want = 5 * time.Minute
			} else {
				r.SetGrace(grace)
			}
			start := time.Now()
			keepChunks(t, r, noiseChunks(byte(3+grace), 3, 50000))
			if took := time.Since(start); took != want {
				t.Errorf("a backup waits %v, want %v", took, want)
			}
		}
		r.SetGrace(time.Second)
		if _, err := r.Prune(t.Context(), PruneOptions{Lag: time.Second}, markModel(r), nil); err != nil {
			t.Errorf("prune --grace: %v", err)
		}
	})
}

// TestPruneOfOneMachine checks that a prune skips the wait only if this machine made everything in the repository.
func TestPruneOfOneMachine(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	for _, c := range []struct {
		name  string
		waits bool
		with  func(r *Repo) error
		mark  string // the host that a snapshot names
		lag   store.Lag
	}{
		{name: "this machine alone", mark: host, waits: host == "localhost"}, // localhost may be any machine
		{name: "a snapshot of another", mark: "other", waits: true},
		{name: "a snapshot of an unknown host", waits: true},
		{name: "a lease of another", mark: host, waits: true, with: func(r *Repo) error {
			_, err := r.leases.Put(ctx, Lease{Work: BackingUp, Host: "other"})
			return err
		}},
		{name: "a marker of another", mark: host, waits: true, with: func(r *Repo) error {
			_, err := r.leases.PutMarker(ctx, lease.Marker{Host: "other", Damaged: true})
			return err
		}},
		{name: "a file that cannot be read", mark: host, waits: true, with: func(r *Repo) error {
			_, _, err := layout.PutNamed(ctx, r.view().store, layout.Work, pack.LeaseFile, []byte("garbage"))
			return err
		}},
		{name: "a network file system", mark: host, waits: true, lag: store.Lag{Time: time.Minute}},
	} {
		s := &far{Store: new(store.Mem), lag: c.lag}
		testRepo(t, s)
		keepChunks(t, reopen(t, s), noiseChunks(1, 3, 50000))
		r := reopen(t, s)
		if c.with != nil {
			if err := c.with(reopen(t, s)); err != nil {
				t.Fatal(err)
			}
		}
		waited := time.Duration(0)
		o := PruneOptions{Lag: -1, Wait: func(_ context.Context, d time.Duration) error { waited += d; return nil }}
		_, err := r.Prune(ctx, o, func(ctx context.Context, ids []pack.FileID, m *Marks) error {
			for _, id := range ids {
				if c.mark != "" {
					m.Host(id, c.mark)
				}
			}
			return markModel(r)(ctx, ids, m)
		}, nil)
		if err != nil || waited != 0 != c.waits || c.waits && waited < 3*time.Minute {
			t.Errorf("%s: waited %v, %v", c.name, waited, err)
		}
	}
}

// TestReadingBeginsBeforeMarking checks a version that a prune lists, that a reader then begins to read, and that is
// forgotten by a process that did not see the reader, all before the prune marks. The prune deletes nothing.
func TestReadingBeginsBeforeMarking(t *testing.T) {
	ctx := context.Background()
	mem := new(store.Mem)
	keepForgotten(t, mem, noiseChunks(2, 30, 50000)) // what the prune is to delete
	first := keepChunks(t, reopen(t, mem), noiseChunks(1, 30, 50000))
	r, other := reopen(t, mem), reopen(t, mem)
	mark, calls := markModel(r), 0
	done, err := r.Prune(ctx, PruneOptions{MaxRepack: 1 << 40, Sure: true}, func(ctx context.Context, ids []pack.FileID, m *Marks) error {
		switch calls++; calls {
		case 1: // so that the prune marks again
			keepChunks(t, reopen(t, mem), noiseChunks(3, 3, 5000))
		case 2:
			if _, err := other.leases.Put(ctx, Lease{Work: Restoring, Reads: []pack.FileID{first}}); err != nil {
				return err
			}
			if _, err := other.forget(ctx, []pack.FileID{first}); err != nil {
				return err
			}
		}
		return mark(ctx, ids, m)
	}, nil)
	if err != nil || calls < 2 {
		t.Fatalf("%d markings, %v", calls, err)
	}
	if done.Deleted.Packs != 0 || len(done.AtWork) != 1 || done.AtWork[0].Work != Restoring {
		t.Errorf("%+v", done)
	}
}
