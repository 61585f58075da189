package lease_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"platter/pack"
	"platter/repo/layout"
	"platter/repo/lease"
	"platter/repo/store"
	"platter/repo/store/storetest"
)

var errBroken = errors.New("broken")

// TestHold checks that a lease lasts from the beginning to the end of the work, and that nested work shares it.
func TestHold(t *testing.T) {
	mem, clock := newStore()
	h := newHolder(mem)
	began := clock.Time
	err := h.Hold(t.Context(), lease.BackingUp, func(ctx context.Context) error {
		clock.add(time.Minute)
		outer, found, ok := h.Held()
		if !ok || len(found.Leases) != 1 || found.Leases[outer].Value.Work != lease.BackingUp || !h.Time().Equal(began) {
			t.Errorf("held %v, %+v, since %v", ok, found, h.Time())
		}
		err := h.Hold(ctx, lease.Pruning, func(context.Context) error {
			if inner, _, _ := h.Held(); inner != outer || files(t, mem, layout.Work) != 1 {
				t.Errorf("nested: another lease, or %d files", files(t, mem, layout.Work))
			}
			return nil
		})
		return errors.Join(err, h.Check(ctx), errBroken)
	})
	if _, _, ok := h.Held(); !errors.Is(err, errBroken) || errors.Is(err, lease.ErrLost) || ok || files(t, mem, layout.Work) != 0 || !h.Time().IsZero() {
		t.Errorf("afterwards: %v, held %v, %d files", err, ok, files(t, mem, layout.Work))
	}
}

// TestHoldEveryCall fails each call of a store in turn. The work is done under a lease or not at all, and no lease is
// left that could have been deleted.
func TestHoldEveryCall(t *testing.T) {
	for i := int64(0); ; i++ {
		mem, _ := newStore()
		if err := newHolder(mem).Mark(t.Context(), []pack.FileID{{1}}, false); err != nil { // so that there is something to acknowledge
			t.Fatal(err)
		}
		s := &storetest.Faulty{Store: mem, Fail: storetest.Nth(i, errBroken)}
		ran := false
		err := newHolder(s).Hold(t.Context(), lease.BackingUp, func(context.Context) error {
			ran = true
			if n := files(t, mem, layout.Work); n != 3 {
				t.Errorf("call %d: %d files of work, want a marker, a lease and its acknowledgement", i, n)
			}
			return nil
		})
		if left := files(t, mem, layout.Work); ran != (err == nil) || err != nil && (!errors.Is(err, errBroken) || left != 1) || left > 2 {
			t.Errorf("call %d: ran %v, %v, %d files left", i, ran, err, left)
		}
		if s.Ops() <= i {
			if i < 5 {
				t.Errorf("only %d calls", i)
			}
			break
		}
	}
}

// TestHoldBegins checks that no lease is put if what comes before it fails, and none stays if waiting for listings
// fails.
func TestHoldBegins(t *testing.T) {
	for _, fails := range []string{"Begin", "Settle"} {
		mem, _ := newStore()
		o, leases := options(mem), -1
		fail := func(context.Context) error {
			leases = files(t, mem, layout.Work)
			return errBroken
		}
		if fails == "Begin" {
			o.Begin = fail
		} else {
			o.Settle = fail
		}
		err := lease.New(o).Hold(t.Context(), lease.BackingUp, func(context.Context) error {
			t.Errorf("%s failed, and the work is done", fails)
			return nil
		})
		if want := map[string]int{"Begin": 0, "Settle": 1}[fails]; !errors.Is(err, errBroken) || leases != want || files(t, mem, layout.Work) != 0 {
			t.Errorf("%s: %v, %d leases then, %d files now", fails, err, leases, files(t, mem, layout.Work))
		}
	}
}

// TestHoldKeepsTouching checks that a lease stays fresh while its holder works, even after the store did not answer for
// some time, and that the work ends if the lease is deleted.
func TestHoldKeepsTouching(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := new(store.Mem)
		var away atomic.Bool
		s := &storetest.Faulty{Store: mem, Fail: func(op, _ string) error {
			if away.Load() && op == "touch" {
				return errBroken
			}
			return nil
		}}
		h := newHolder(s)
		err := h.Hold(t.Context(), lease.BackingUp, func(ctx context.Context) error {
			for _, is := range []bool{false, true, false} {
				away.Store(is)
				time.Sleep(5 * time.Hour)
			}
			id, _, _ := h.Held()
			if l, ok := mustRead(t, mem).Leases[id]; !ok || time.Since(l.Time) > lease.TouchEvery || ctx.Err() != nil {
				t.Errorf("fifteen hours later: %+v, %v", l, ctx.Err())
			}
			if err := mem.Delete(ctx, layout.Name(layout.Work, id)); err != nil {
				return err
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(2 * lease.TouchEvery):
				return errors.New("the work goes on without a lease")
			}
		})
		if !errors.Is(err, lease.ErrLost) {
			t.Errorf("without its lease it ends with %v", err)
		}
	})
}

// TestExpired checks that a lease expires by its age or with its holder.
func TestExpired(t *testing.T) {
	mem, clock := newStore()
	o := options(mem)
	o.IsDead = func(l lease.Lease) bool { return l.Host == "dead" }
	h := lease.New(o)
	for _, c := range []struct {
		host string
		age  time.Duration
		want bool
	}{
		{"alive", 0, false},
		{"alive", lease.ExpiresAfter - 1, false},
		{"alive", lease.ExpiresAfter, true},
		{"alive", -24 * time.Hour, false}, // from the future
		{"dead", 0, true},
	} {
		if got := h.Expired(lease.Dated[lease.Lease]{Value: lease.Lease{Host: c.host}, Time: clock.Add(-c.age)}, clock.Time); got != c.want {
			t.Errorf("%s, %v old: expired %v", c.host, c.age, got)
		}
	}
}

// TestIsDead checks that a process counts as dead only if this machine, in this boot, knows that it ended.
func TestIsDead(t *testing.T) {
	mem, _ := newStore()
	id := mustAcquire(t, newHolder(mem), lease.BackingUp)
	l := mustRead(t, mem).Leases[id].Value
	if l.PID != os.Getpid() || l.IsDead() {
		t.Errorf("this process: %+v, dead %v", l, l.IsDead())
	}
	ended := exec.Command(os.Args[0], "-test.run=^$")
	if err := ended.Run(); err != nil {
		t.Fatal(err)
	}
	l.PID = ended.Process.Pid
	if l.IsDead() != (runtime.GOOS == "linux") {
		t.Errorf("a process that ended: dead %v", l.IsDead())
	}
	for _, boot := range []string{"", "another boot"} {
		if l.Boot = boot; l.IsDead() {
			t.Errorf("a process of boot %q is called dead", boot)
		}
	}
}

// TestNow checks that a holder learns the store's time, and that its lease was ended.
func TestNow(t *testing.T) {
	mem, clock := newStore()
	h := newHolder(mem)
	id := mustAcquire(t, h, lease.BackingUp)
	clock.add(20 * time.Minute)
	state, now, err := h.Now(t.Context())
	if err != nil || !now.Equal(clock.Time) || !state.Leases[id].Time.Equal(now) {
		t.Errorf("%v, %v; want %v", now, err, clock)
	}
	if err := mem.Delete(t.Context(), layout.Name(layout.Work, id)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := h.Now(t.Context()); !errors.Is(err, lease.ErrLost) {
		t.Errorf("Now without its lease: %v", err)
	}
	if err := h.Check(t.Context()); !errors.Is(err, lease.ErrLost) {
		t.Errorf("Check without its lease: %v", err)
	}
	broken := newHolder(&storetest.Faulty{Store: mem, Fail: storetest.After(4, errBroken)})
	mustAcquire(t, broken, lease.BackingUp)
	if _, _, err := broken.Now(t.Context()); !errors.Is(err, errBroken) || errors.Is(err, lease.ErrLost) {
		t.Errorf("Now of a store that fails: %v", err)
	}
}

// TestExclusive lets every two kinds of work meet. Only exclusive work refuses exclusive work, until the other's lease
// expires.
func TestExclusive(t *testing.T) {
	works := []lease.Work{lease.BackingUp, lease.Pruning, lease.Repairing, lease.Restoring, lease.Exporting, lease.Checking, lease.Forgetting, "something new"}
	for _, first := range works {
		for _, second := range works {
			mem, clock := newStore()
			there := newHolder(mem)
			mustAcquire(t, there, first)
			h := newHolder(mem)
			err := h.Acquire(t.Context(), second)
			refused := first.Exclusive() && second.Exclusive()
			by, inUse := errors.AsType[*lease.InUseError](err)
			if errors.Is(err, lease.ErrInUse) != refused || inUse != refused || inUse && (by.Work != first || by.Future || by.Stuck != nil) || !refused && err != nil {
				t.Errorf("%q beside %q: %v", second, first, err)
			}
			if want := map[bool]int{true: 1, false: 2}[refused]; files(t, mem, layout.Work) != want {
				t.Errorf("%q beside %q: %d files of work, want %d", second, first, files(t, mem, layout.Work), want)
			}
			if !refused {
				continue
			}
			clock.add(lease.ExpiresAfter)
			if err := h.Acquire(t.Context(), second); err != nil {
				t.Errorf("%q after %q expired: %v", second, first, err)
			}
		}
	}
}

// TestFromTheFuture sets the store's clock back. A lease from the future blocks exclusive work until half an hour after
// another process saw it. The error says if it cannot be touched.
func TestFromTheFuture(t *testing.T) {
	for _, stuck := range []bool{false, true} {
		mem, clock := newStore()
		id := mustPut(t, mem, lease.Lease{Work: lease.Pruning, Host: "there"})
		clock.add(-24 * time.Hour)
		s := &storetest.Faulty{Store: mem, Fail: func(op, name string) error {
			if stuck && op == "touch" && name == layout.Name(layout.Work, id) {
				return errBroken
			}
			return nil
		}}
		err := newHolder(s).Acquire(t.Context(), lease.Repairing)
		by, ok := errors.AsType[*lease.InUseError](err)
		if !ok || !by.Future || errors.Is(by.Stuck, errBroken) != stuck {
			t.Errorf("stuck %v: %v", stuck, err)
		}
		clock.add(lease.ExpiresAfter)
		if err := newHolder(s).Acquire(t.Context(), lease.Repairing); (err == nil) == stuck {
			t.Errorf("stuck %v, half an hour later: %v", stuck, err)
		}
	}
}

// TestInUseErrorSays checks that each error names the process and says what to do.
func TestInUseErrorSays(t *testing.T) {
	by := lease.Lease{Work: lease.Pruning, Host: "nas", PID: 7, Time: time.Date(2026, 12, 1, 12, 0, 0, 0, time.Local)}
	const begins = "the repository is in use: a prune by nas (process 7) has been running since 2026-12-01 12:00:00; wait for it to end. If that machine is dead, "
	for _, c := range []struct {
		err  lease.InUseError
		says string
	}{
		{lease.InUseError{Lease: by}, "this works again 30m0s after its death"},
		{lease.InUseError{Lease: by, Future: true}, "this works again in 30m0s: its lease was dated in the future, by the store's clock"},
		{lease.InUseError{Lease: by, Future: true, Stuck: errBroken}, "delete its lease, which is dated in the future and cannot be touched: broken"},
	} {
		if got := c.err.Error(); got != begins+c.says {
			t.Errorf("%q, want %q", got, begins+c.says)
		}
	}
	if got := fmt.Sprint(by); got != "the prune that nas began at 2026-12-01 12:00:00 (process 7)" {
		t.Errorf("%q", got)
	}
}
