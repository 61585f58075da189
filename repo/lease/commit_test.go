package lease_test

import (
	"context"
	"errors"
	"io/fs"
	"testing"

	"platter/repo/layout"
	"platter/repo/lease"
	"platter/repo/store/storetest"
)

const committed = "snapshots/0123"

// TestCommit checks that a file gets its name under a lease, and not without one.
func TestCommit(t *testing.T) {
	mem, _ := newStore()
	h := newHolder(mem)
	if err := h.Commit(t.Context(), []byte("file"), committed); err == nil || files(t, mem, "") != 0 {
		t.Errorf("without a lease: %v, %d files", err, files(t, mem, ""))
	}
	err := h.Hold(t.Context(), lease.BackingUp, func(ctx context.Context) error {
		return h.Commit(ctx, []byte("file"), committed)
	})
	if err != nil || string(storetest.File(t, mem, committed)) != "file" || files(t, mem, "") != 1 {
		t.Errorf("%v, %d files", err, files(t, mem, ""))
	}
}

// TestLostLease checks that nothing is committed without its lease, whenever the lease is deleted.
func TestLostLease(t *testing.T) {
	for when, moment := range map[string]func(op, name string) bool{
		"before the file is put": func(op, name string) bool { return op == "put" && layout.Dir(name) == layout.Pending },
		"before it is moved":     func(op, _ string) bool { return op == "move" },
	} {
		mem, _ := newStore()
		var h *lease.Holder
		h = newHolder(storetest.Watch(mem, func(op, name string) {
			if moment(op, name) {
				id, _, _ := h.Held()
				_ = mem.Delete(t.Context(), layout.Name(layout.Work, id))
				_ = mem.Delete(t.Context(), layout.Name(layout.Pending, id))
			}
		}))
		mustAcquire(t, h, lease.BackingUp)
		if err := h.Commit(t.Context(), []byte("file"), committed); !errors.Is(err, lease.ErrLost) || files(t, mem, "") != 0 {
			t.Errorf("%s: %v, %d files", when, err, files(t, mem, ""))
		}
	}
}

// TestCommitLosesAnAnswer retries a move whose answer was lost. The file has its name, unless that name is another
// file's.
func TestCommitLosesAnAnswer(t *testing.T) {
	for there, want := range map[string]error{"file": nil, "else": lease.ErrLost} {
		mem, _ := newStore()
		h := newHolder(&storetest.Faulty{Store: mem, Fail: func(op, name string) error {
			if op != "move" {
				return nil
			}
			return errors.Join(mem.Delete(t.Context(), name), mem.Put(t.Context(), committed, []byte(there)), fs.ErrNotExist)
		}})
		mustAcquire(t, h, lease.BackingUp)
		if err := h.Commit(t.Context(), []byte("file"), committed); !errors.Is(err, want) {
			t.Errorf("%q has the name: %v, want %v", there, err, want)
		}
	}
}

// TestCommitEveryCall fails each call of a commit. Afterwards the file has its name and all its bytes, or an error says
// that it may not.
func TestCommitEveryCall(t *testing.T) {
	for i := int64(0); ; i++ {
		mem, _ := newStore()
		s := &storetest.Faulty{Store: mem}
		h := newHolder(s)
		mustAcquire(t, h, lease.BackingUp)
		before := s.Ops()
		s.Fail = storetest.Nth(i, errBroken)
		err := h.Commit(t.Context(), []byte("file"), committed)
		if named := files(t, mem, layout.Snapshots) == 1; named != (err == nil) || err != nil && !errors.Is(err, errBroken) {
			t.Errorf("call %d: named %v, %v", i, named, err)
		}
		if s.Ops()-before <= i {
			break
		}
	}
}
