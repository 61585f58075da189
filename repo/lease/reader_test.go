package lease_test

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

func nothing(context.Context) error { return nil }

// TestReading checks that a reader's lease names what it reads, from before it begins until it ends.
func TestReading(t *testing.T) {
	mem, _ := newStore()
	reads := []pack.FileID{{1}, {2}}
	var steps []string
	look := func(step string) func(context.Context) error {
		return func(ctx context.Context) error {
			steps = append(steps, step)
			o, err := newHolder(mem).Observe(ctx, lease.Forgetting)
			if err != nil {
				return err
			}
			defer o.Close(ctx)
			read, err := o.Readers(ctx)
			if len(read) != 2 || read[reads[0]].Work != lease.Restoring || read[reads[1]].Work != lease.Restoring {
				t.Errorf("%s: %v are read, %v", step, read, err)
			}
			return err
		}
	}
	err := newHolder(mem).Reading(t.Context(), lease.Restoring, reads, look("begin"), look("read"))
	if err != nil || len(steps) != 2 || steps[0] != "begin" || files(t, mem, layout.Work) != 0 {
		t.Errorf("%q, %v, %d files", steps, err, files(t, mem, layout.Work))
	}
	for name, err := range map[string]error{
		"begin": newHolder(mem).Reading(t.Context(), lease.Restoring, reads, func(context.Context) error { return errBroken }, func(context.Context) error {
			t.Error("what does not begin is read")
			return nil
		}),
		"read": newHolder(mem).Reading(t.Context(), lease.Restoring, reads, nothing, func(context.Context) error { return errBroken }),
	} {
		if !errors.Is(err, errBroken) || files(t, mem, layout.Work) != 0 {
			t.Errorf("%s: %v, %d files", name, err, files(t, mem, layout.Work))
		}
	}
}

// TestReadingWithoutLease checks that a repository is read that cannot be written to, and that a cancelled reader does
// not begin.
func TestReadingWithoutLease(t *testing.T) {
	mem, _ := newStore()
	s := &storetest.Faulty{Store: mem, Fail: func(op, _ string) error {
		if op == "put" || op == "touch" || op == "delete" {
			return os.ErrPermission
		}
		return nil
	}}
	ran := false
	read := func(context.Context) error { ran = true; return nil }
	if err := newHolder(s).Reading(t.Context(), lease.Restoring, []pack.FileID{{1}}, nothing, read); err != nil || !ran {
		t.Errorf("%v, ran %v", err, ran)
	}
	ran = false
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := newHolder(mem).Reading(ctx, lease.Restoring, []pack.FileID{{1}}, nothing, read); !errors.Is(err, context.Canceled) || ran {
		t.Errorf("cancelled: %v, ran %v", err, ran)
	}
}

// TestReaderSleeps lets other processes take a reader for dead. The reader continues under another lease.
func TestReaderSleeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := new(store.Mem)
		err := newHolder(mem).Reading(t.Context(), lease.Restoring, []pack.FileID{{1}}, nothing, func(ctx context.Context) error {
			first := storetest.Names(t, mem, layout.Work)[0]
			if err := mem.Delete(ctx, first); err != nil {
				return err
			}
			time.Sleep(3 * lease.TouchEvery)
			if names := storetest.Names(t, mem, layout.Work); len(names) != 1 || names[0] == first {
				t.Errorf("%q, want another lease", names)
			}
			return nil
		})
		if err != nil || files(t, mem, layout.Work) != 0 {
			t.Errorf("%v; %d files of work", err, files(t, mem, layout.Work))
		}
	})
}

// TestReaders checks whose reading counts: that of live processes, and of those that may be alive if the time is
// unknown.
func TestReaders(t *testing.T) {
	mem, clock := newStore()
	mustPut(t, mem, lease.Lease{Work: lease.Restoring, Host: "expired", Reads: []pack.FileID{{1}}})
	clock.add(lease.ExpiresAfter)
	mustPut(t, mem, lease.Lease{Work: lease.Restoring, Host: "dead", Reads: []pack.FileID{{2}}})
	mustPut(t, mem, lease.Lease{Work: lease.Exporting, Host: "live", Reads: []pack.FileID{{3}}})
	mustPut(t, mem, lease.Lease{Work: lease.BackingUp, Host: "writer"})
	for full, want := range map[bool][]string{false: {"live"}, true: {"expired", "live"}} {
		o := options(&storetest.Faulty{Store: mem, Fail: func(op, _ string) error {
			if full && op == "put" {
				return store.ErrFull
			}
			return nil
		}})
		o.IsDead = func(l lease.Lease) bool { return l.Host == "dead" }
		observer, err := lease.New(o).Observe(t.Context(), lease.Forgetting)
		if err != nil {
			t.Fatal(err)
		}
		read, err := observer.Readers(t.Context())
		hosts := map[string]bool{}
		for _, l := range read {
			hosts[l.Host] = true
		}
		if err != nil || len(hosts) != len(want) || !hosts[want[0]] || !hosts[want[len(want)-1]] {
			t.Errorf("full %v: %v, %v; want %q", full, hosts, err, want)
		}
		if at := observer.Time(t.Context()); at.IsZero() != full || !full && !at.Equal(clock.Time) {
			t.Errorf("full %v: observed at %v", full, at)
		}
		observer.Close(t.Context())
		if n := files(t, mem, layout.Work); n != 4 {
			t.Errorf("full %v: %d files are left, want 4", full, n)
		}
	}
	broken := newHolder(&storetest.Faulty{Store: mem, Fail: storetest.After(0, errBroken)})
	if _, err := broken.Observe(t.Context(), lease.Forgetting); !errors.Is(err, errBroken) {
		t.Errorf("Observe says %v", err)
	}
}

// TestBuilds checks which work a prune waits for.
func TestBuilds(t *testing.T) {
	for work, want := range map[lease.Work]bool{
		lease.BackingUp: true, lease.Pruning: true, lease.Repairing: true, "something new": true,
		lease.Restoring: false, lease.Exporting: false, lease.Checking: false, lease.Forgetting: false,
	} {
		if work.Builds() != want {
			t.Errorf("%q builds: %v", work, work.Builds())
		}
	}
}
