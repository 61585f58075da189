package repo

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"testing"
	"time"

	"platter/repo/layout"
	"platter/repo/store"
	"platter/repo/store/storetest"
)

// TestLeaseFromTheFuture sets the store's clock back by a hundred years while a process is at work. If the process is
// dead, its lease ends half an hour after a prune has seen it. If it is alive, the lease stays.
func TestLeaseFromTheFuture(t *testing.T) {
	ctx := context.Background()
	for _, work := range []Work{Pruning, Repairing, BackingUp, ""} { // the last file is garbage
		for _, alive := range []bool{false, true} {
			now := time.Date(2126, 1, 1, 0, 0, 0, 0, time.UTC)
			mem := &store.Mem{Clock: func() time.Time { return now }}
			keepForgotten(t, mem, noiseChunks(1, 30, 50000))
			id, err := reopen(t, mem).leases.Put(ctx, Lease{Work: work, Host: "there"})
			if work == "" {
				err = errors.Join(err, mem.Delete(ctx, layout.Name(layout.Work, id)), mem.Put(ctx, layout.Name(layout.Work, id), []byte("garbage")))
			}
			if err != nil {
				t.Fatal(err)
			}
			now = now.AddDate(-100, 0, 0)
			for minutes := range 32 {
				if alive && minutes%20 == 1 { // late, but it touches the lease
					if err := mem.Touch(ctx, layout.Name(layout.Work, id)); err != nil {
						t.Fatal(err)
					}
				}
				r := reopen(t, mem)
				done, err := r.Prune(ctx, PruneOptions{}, markModel(r), nil)
				ended := err == nil && done.Deleted.Packs > 0
				if waits := errors.Is(err, ErrInUse) || err == nil && done.Pending.Packs > 0; ended == waits || ended && !work.Exclusive() && len(done.AtWork) > 0 {
					t.Fatalf("%q, minute %d: %+v, %v", work, minutes, done, err)
				}
				if ended != (minutes >= 30 && !alive) {
					t.Fatalf("%q, alive %v, minute %d: %+v, %v", work, alive, minutes, done, err)
				}
				if ended {
					break
				}
				if said := err != nil && strings.Contains(err.Error(), "dated in the future"); said != (work.Exclusive() && minutes == 0) {
					t.Errorf("%q, minute %d: %v", work, minutes, err)
				}
				now = now.Add(time.Minute)
			}
		}
	}
}

// TestLeaseCannotBeDated covers a lease from the future that other processes cannot touch. An error names it as the
// obstacle. A prune that it does not block leaves alone what its holder may need.
func TestLeaseCannotBeDated(t *testing.T) {
	ctx := context.Background()
	for _, work := range []Work{Pruning, BackingUp} {
		now := time.Date(2126, 1, 1, 0, 0, 0, 0, time.UTC)
		mem := &store.Mem{Clock: func() time.Time { return now }}
		keepForgotten(t, mem, noiseChunks(1, 30, 50000))
		id, err := reopen(t, mem).leases.Put(ctx, Lease{Work: work, Host: "there"})
		if err != nil {
			t.Fatal(err)
		}
		now = now.AddDate(-100, 0, 0)
		r := reopen(t, mem)
		r.setStore(&storetest.Faulty{Store: mem, Fail: func(op, name string) error {
			if op == "touch" && name == layout.Name(layout.Work, id) {
				return fs.ErrPermission
			}
			return nil
		}})
		done, err := r.Prune(ctx, PruneOptions{}, markModel(r), nil)
		switch {
		case work == Pruning && (!errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), "cannot be touched: "+fs.ErrPermission.Error())):
			t.Errorf("%s: %v", work, err)
		case work == BackingUp && (err != nil || done.Pending.Packs == 0 || len(done.Notes) != 1):
			t.Errorf("%s: %+v, %v", work, done, err)
		}
	}
}

// TestCheckLeaseFromTheFuture checks that check names a lease from the future, and that this lease makes no other look
// old.
func TestCheckLeaseFromTheFuture(t *testing.T) {
	ctx := context.Background()
	now := time.Now()
	mem := &store.Mem{Clock: func() time.Time { return now }}
	for name, data := range newSample(t).files {
		if err := mem.Put(ctx, name, data); err != nil {
			t.Fatal(err)
		}
	}
	r := reopen(t, mem)
	r.isDead = func(Lease) bool { return false }
	for _, host := range []string{"alive", "future"} {
		if _, err := r.leases.Put(ctx, Lease{Work: Pruning, Host: host}); err != nil {
			t.Fatal(err)
		}
		now = now.Add(24 * time.Hour)
	}
	now = now.Add(-48 * time.Hour)
	report, err := r.Check(ctx, CheckOptions{}, nil)
	if err != nil || len(report.Notes) != 1 || !strings.Contains(report.Notes[0], "the prune by future since") || !strings.Contains(report.Notes[0], "dated 24h0m0s in the future") {
		t.Errorf("%q, %v", report.Notes, err)
	}
}
