package lease_test

import (
	"context"
	"testing"
	"time"

	"platter/pack"
	"platter/repo/crypt"
	"platter/repo/layout"
	"platter/repo/lease"
	"platter/repo/store"
	"platter/repo/store/storetest"
)

// A clock is a store's clock that stands still until it is set.
type clock struct{ time.Time }

func (c *clock) now() time.Time { return c.Time }

func (c *clock) add(d time.Duration) { c.Time = c.Add(d) }

// newStore returns an empty store, and its clock.
func newStore() (*store.Mem, *clock) {
	c := &clock{time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)}
	return &store.Mem{Clock: c.now}, c
}

// options are those of a process in a repository. No holder of a lease is known to be dead.
func options(s store.Store) lease.Options {
	return lease.Options{
		Store:  func() store.Store { return s },
		Box:    func(p crypt.Purpose) *crypt.Box { return crypt.NewBox(crypt.MasterKey{1}, p, crypt.RepoID{2}) },
		Now:    time.Now,
		IsDead: func(lease.Lease) bool { return false },
		Begin:  func(ctx context.Context) error { return ctx.Err() },
		Settle: func(ctx context.Context) error { return ctx.Err() },
	}
}

// newHolder returns the leases of one more process.
func newHolder(s store.Store) *lease.Holder { return lease.New(options(s)) }

// mustAcquire takes a lease, and returns its ID.
func mustAcquire(t *testing.T, h *lease.Holder, work lease.Work) pack.FileID {
	t.Helper()
	if err := h.Acquire(t.Context(), work); err != nil {
		t.Fatal(err)
	}
	id, _, _ := h.Held()
	return id
}

func mustPut(t *testing.T, s store.Store, l lease.Lease) pack.FileID {
	t.Helper()
	id, err := newHolder(s).Put(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func mustRead(t *testing.T, s store.Store) *lease.State {
	t.Helper()
	state, err := newHolder(s).Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return state
}

// putFile puts a file of some folder, with other bytes than its name says.
func putFile(t *testing.T, s store.Store, dir string, id pack.FileID) {
	t.Helper()
	if err := s.Put(t.Context(), layout.Name(dir, id), []byte("garbage")); err != nil {
		t.Fatal(err)
	}
}

// files returns how many files a store has in a folder.
func files(t *testing.T, s store.Store, dir string) int {
	t.Helper()
	return len(storetest.Names(t, s, dir))
}
