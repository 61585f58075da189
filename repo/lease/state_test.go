package lease_test

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"platter/pack"
	"platter/repo/layout"
	"platter/repo/lease"
	"platter/repo/store/storetest"
)

// TestAcknowledge checks that a lease acknowledges the markers that it found, and no later ones, until it ends.
func TestAcknowledge(t *testing.T) {
	mem, _ := newStore()
	h := newHolder(mem)
	ctx := t.Context()
	if err := errors.Join(h.Mark(ctx, []pack.FileID{{1}}, false), h.Mark(ctx, []pack.FileID{{2}}, true)); err != nil {
		t.Fatal(err)
	}
	before := mustRead(t, mem).MarkerIDs()
	id := mustAcquire(t, h, lease.BackingUp)
	if err := newHolder(mem).Mark(ctx, []pack.FileID{{3}}, false); err != nil {
		t.Fatal(err)
	}
	state := mustRead(t, mem)
	if len(before) != 2 || len(state.Markers) != 3 || len(state.Leases) != 1 || len(state.Acknowledgements) != 1 {
		t.Fatalf("%d markers before; %+v", len(before), state)
	}
	for marker := range state.Markers {
		if got, want := state.Acknowledges(id, marker), slices.Contains(before, marker); got != want {
			t.Errorf("acknowledged: %v, want %v", got, want)
		}
		if state.Acknowledges(pack.FileID{9}, marker) {
			t.Error("a lease that does not exist acknowledges a marker")
		}
	}
	_, found, _ := h.Held()
	if !slices.Equal(found.MarkerIDs(), before) {
		t.Errorf("it found %v, want %v", found.MarkerIDs(), before)
	}
	h.Release(ctx)
	if state := mustRead(t, mem); len(state.Leases)+len(state.Acknowledgements) != 0 || len(state.Markers) != 3 {
		t.Errorf("after its end: %+v", state)
	}
}

// TestMarkers checks which packs are condemned and which are damaged, and that a marker can be removed twice.
func TestMarkers(t *testing.T) {
	mem, _ := newStore()
	h, ctx := newHolder(mem), t.Context()
	if err := errors.Join(h.Mark(ctx, []pack.FileID{{2}, {1}, {2}}, false), h.Mark(ctx, []pack.FileID{{3}, {1}}, true), h.Mark(ctx, nil, false)); err != nil {
		t.Fatal(err)
	}
	state := mustRead(t, mem)
	want := func(what string, got map[pack.FileID]bool, want ...pack.FileID) {
		t.Helper()
		for _, id := range want {
			if !got[id] {
				t.Errorf("%x is not %s", id[0], what)
			}
		}
		if len(got) != len(want) {
			t.Errorf("%d packs are %s, want %d", len(got), what, len(want))
		}
	}
	want("condemned", state.Condemned(), pack.FileID{1}, pack.FileID{2})
	want("damaged", state.Damaged(), pack.FileID{1}, pack.FileID{3})
	want("condemned in no state", (*lease.State)(nil).Condemned())
	want("damaged in no state", (*lease.State)(nil).Damaged())
	for _, m := range state.Markers {
		if !m.Value.Damaged && !slices.Equal(m.Value.Packs, []pack.FileID{{1}, {2}}) {
			t.Errorf("a marker of %v, want each pack once, in order", m.Value.Packs)
		}
	}
	for range 2 {
		if err := h.Unmark(ctx, state.MarkerIDs()[0]); err != nil {
			t.Error(err)
		}
	}
	if n := len(mustRead(t, mem).Markers); n != 1 {
		t.Errorf("%d markers are left, want 1", n)
	}
	broken := newHolder(&storetest.Faulty{Store: mem, Fail: storetest.After(0, errBroken)})
	if err := broken.Unmark(ctx, state.MarkerIDs()[1]); !errors.Is(err, errBroken) {
		t.Errorf("Unmark says %v", err)
	}
}

// TestManyPacks checks that the markers of any number of packs can be read.
func TestManyPacks(t *testing.T) {
	if testing.Short() {
		t.Skip("half a second")
	}
	mem, _ := newStore()
	packs := make([]pack.FileID, 100_001)
	for i := range packs {
		binary.BigEndian.PutUint32(packs[i][:], uint32(i))
	}
	if err := newHolder(mem).Mark(t.Context(), packs, false); err != nil {
		t.Fatal(err)
	}
	if state := mustRead(t, mem); len(state.Markers) != 2 || len(state.Condemned()) != len(packs) {
		t.Errorf("%d markers of %d packs", len(state.Markers), len(state.Condemned()))
	}
}

// TestUnreadable has a work directory with files that cannot be read. Work that builds on packs refuses it, and names
// the files. A process that clears such files away does not.
func TestUnreadable(t *testing.T) {
	mem, clock := newStore()
	h, ctx := newHolder(mem), t.Context()
	garbage := pack.FileID{7}
	putFile(t, mem, layout.Work, garbage)
	sealed, _, err := layout.PutNamed(ctx, mem, layout.Work, pack.LeaseFile, []byte("not sealed by these keys"))
	if err != nil {
		t.Fatal(err)
	}
	other, _, err := layout.PutNamed(ctx, mem, layout.Work, pack.SnapshotFile, []byte("another kind of file"))
	if err != nil {
		t.Fatal(err)
	}
	whole := mustPut(t, mem, lease.Lease{Work: lease.BackingUp, Host: "there"})
	renamed := pack.FileID{8}
	if err := mem.Move(ctx, layout.Name(layout.Work, whole), layout.Name(layout.Work, renamed)); err != nil {
		t.Fatal(err)
	}
	state := mustRead(t, mem)
	if len(state.Unreadable) != 4 || len(state.Leases)+len(state.Markers) > 0 {
		t.Errorf("%+v", state)
	}
	for _, id := range []pack.FileID{garbage, sealed, other, renamed} {
		if d := state.Unreadable[id]; d.Value == nil || !strings.Contains(d.Value.Error(), layout.Name(layout.Work, id)) || !d.Time.Equal(clock.Time) {
			t.Errorf("%v", d)
		}
		if state.Misses(id) {
			t.Errorf("an unreadable file that may be the lease counts as missing")
		}
	}
	for _, id := range []pack.FileID{garbage, sealed, renamed} {
		if !errors.Is(state.Unreadable[id].Value, pack.ErrDamaged) {
			t.Errorf("%v", state.Unreadable[id].Value)
		}
	}
	err = h.Acquire(ctx, lease.BackingUp)
	if err == nil || !strings.Contains(err.Error(), layout.Name(layout.Work, garbage)) || !strings.Contains(err.Error(), "'platter prune' removes it") {
		t.Errorf("a backup: %v", err)
	}
	if err := h.Acquire(ctx, lease.Pruning); err != nil {
		t.Errorf("a prune: %v", err)
	}
	if state := mustRead(t, mem); !state.Misses(pack.FileID{9}) {
		t.Error("a missing lease does not count as missing")
	}
}

// TestRead checks that a file that disappears is no error, and that a store that fails is one.
func TestRead(t *testing.T) {
	mem, _ := newStore()
	mustPut(t, mem, lease.Lease{Work: lease.BackingUp, Host: "there"})
	for cause, unreadable := range map[error]bool{fs.ErrNotExist: false, errBroken: true} {
		s := &storetest.Faulty{Store: mem, Fail: func(op, _ string) error {
			if op == "get" {
				return cause
			}
			return nil
		}}
		state, err := newHolder(s).Read(t.Context())
		if errors.Is(err, cause) != unreadable || err == nil && (len(state.Leases) > 0 || len(state.Unreadable) > 0) {
			t.Errorf("%v: %+v, %v", cause, state, err)
		}
	}
}

// TestEndExpired has a lease of every kind, with its acknowledgement and its pending file. Those of live processes stay
// and are returned; those of others end, the lease before the pending file.
func TestEndExpired(t *testing.T) {
	mem, clock := newStore()
	ctx := t.Context()
	expired, dead := mustPut(t, mem, lease.Lease{Work: lease.BackingUp, Host: "expired"}), pack.FileID{}
	putFile(t, mem, layout.Work, pack.FileID{1}) // unreadable, and old
	clock.add(lease.ExpiresAfter)
	dead = mustPut(t, mem, lease.Lease{Work: lease.BackingUp, Host: "dead"})
	live := mustPut(t, mem, lease.Lease{Work: lease.BackingUp, Host: "live"})
	putFile(t, mem, layout.Work, pack.FileID{2}) // unreadable, and fresh
	var deleted []string
	o := options(storetest.Watch(mem, func(op, name string) {
		if op == "delete" {
			deleted = append(deleted, name)
		}
	}))
	o.IsDead = func(l lease.Lease) bool { return l.Host == "dead" }
	h := lease.New(o)
	own := mustAcquire(t, h, lease.Pruning)
	stray := pack.FileID{3}
	stays := map[pack.FileID]bool{own: true, live: true, {2}: true}
	for _, id := range []pack.FileID{own, live, expired, dead, {1}, {2}, stray} {
		mustPut(t, mem, lease.Lease{Host: "an acknowledgement", Of: &id})
		putFile(t, mem, layout.Pending, id)
	}
	pending, err := layout.List(ctx, mem, layout.Pending)
	if err != nil {
		t.Fatal(err)
	}
	state, now, err := h.Now(ctx)
	if err != nil {
		t.Fatal(err)
	}
	alive, ended, err := h.EndExpired(ctx, state, pending, now)
	if err != nil {
		t.Fatal(err)
	}
	if len(alive) != 2 || alive[live].Host != "live" || alive[pack.FileID{2}].Host != layout.Name(layout.Work, pack.FileID{2}) {
		t.Errorf("alive: %+v", alive)
	}
	if text := strings.Join(ended, "\n"); len(ended) != 3 || !strings.Contains(text, "the backup that expired began") ||
		!strings.Contains(text, "the backup that dead began") || !strings.Contains(text, layout.Name(layout.Work, pack.FileID{1})+" could not be read") {
		t.Errorf("%q", ended)
	}
	left := mustRead(t, mem)
	for _, id := range []pack.FileID{own, live, expired, dead, {1}, {2}, stray} {
		_, waits := storetest.Files(t, mem)[layout.Name(layout.Pending, id)]
		acknowledged := slices.ContainsFunc(slices.Collect(maps.Values(left.Acknowledgements)), func(l lease.Lease) bool { return *l.Of == id })
		if want := stays[id]; waits != want || acknowledged != want || id != stray && left.Misses(id) == want {
			t.Errorf("%.8s: pending %v, acknowledged %v, missing %v; stays %v", id, waits, acknowledged, left.Misses(id), want)
		}
		begun, committed := slices.Index(deleted, layout.Name(layout.Work, id)), slices.Index(deleted, layout.Name(layout.Pending, id))
		if !stays[id] && id != stray && (begun < 0 || committed < begun) {
			t.Errorf("%.8s: deleted in the order %q", id, deleted)
		}
	}
}

// TestEndExpiredFails checks that a lease that cannot be ended is an error: its holder may commit.
func TestEndExpiredFails(t *testing.T) {
	for _, dir := range []string{layout.Work, layout.Pending} {
		mem, clock := newStore()
		mustPut(t, mem, lease.Lease{Work: lease.BackingUp, Host: "expired"})
		clock.add(lease.ExpiresAfter + time.Minute)
		h := newHolder(&storetest.Faulty{Store: mem, Fail: func(op, name string) error {
			if op == "delete" && layout.Dir(name) == dir {
				return errBroken
			}
			return nil
		}})
		mustAcquire(t, h, lease.Pruning)
		state, now, err := h.Now(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if live, _, err := h.EndExpired(t.Context(), state, nil, now); !errors.Is(err, errBroken) || live != nil {
			t.Errorf("a file in %s that cannot be deleted: %v, %v", dir, live, err)
		}
	}
}
