package repo

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"platter/repo/store"
	"platter/repo/store/storetest"
)

// A fault is a way in which a call fails.
type fault struct {
	name string
	err  error // the program's, if it fails; nil where any will do
	// in makes call number i fail, of those that can fail so, and tells hit if it comes to that.
	in func(d *storetest.Disk, i int, hit *atomic.Bool) store.Store
}

// storeFaults are those of a store.
func storeFaults() []fault {
	const change, all = "put delete move touch", "put delete move touch get list"
	type hook = func(op, name string) error
	at := func(name, ops string, err error, hook func(n int64, err error) hook, set func(f *storetest.Faulty, h hook)) fault {
		return fault{name, err, func(d *storetest.Disk, i int, hit *atomic.Bool) store.Store {
			f := &storetest.Faulty{Store: store.NewLocalOn(d)}
			fails := hook(int64(i), cmp.Or(err, errBroken))
			set(f, func(op, name string) error {
				if !slices.Contains(strings.Fields(ops), op) || fails(op, name) == nil {
					return nil
				}
				hit.Store(true)
				return cmp.Or(err, errBroken)
			})
			return f
		}}
	}
	fail := func(f *storetest.Faulty, h hook) { f.Fail = h }
	return []fault{
		at("fails once", all, errBroken, storetest.Nth, fail),
		at("fails, and all from there on", all, errBroken, storetest.After, fail),
		at("is done, but its answer lost", change, errBroken, storetest.Nth, func(f *storetest.Faulty, h hook) { f.Lose = h }),
		at("finds the store full", "put", store.ErrFull, storetest.Nth, fail),
		at("finds the store full for good", "put", store.ErrFull, storetest.After, fail),
		at("gets half of it", "get", nil, storetest.Nth, func(f *storetest.Faulty, h hook) {
			f.Short = func(op, name string) bool { return h(op, name) != nil }
		}),
	}
}

// diskFaults are those of the disk below a store.Local, in calls that change it.
func diskFaults() (faults []fault) {
	for _, err := range []error{syscall.EIO, syscall.ENOSPC, io.ErrShortWrite} {
		for _, sticky := range []bool{false, true} {
			fails := err
			if err == io.ErrShortWrite {
				fails = fmt.Errorf("%w: %w", err, syscall.ENOSPC)
			}
			in := func(d *storetest.Disk, i int, hit *atomic.Bool) store.Store {
				d.Fail = func(call int, _ string) error {
					if call == i || sticky && call > i {
						hit.Store(true)
						return fails
					}
					return nil
				}
				return store.NewLocalOn(d)
			}
			faults = append(faults, fault{fmt.Sprintf("of the disk: %v (sticky: %t)", fails, sticky), err, in})
		}
	}
	return faults
}

// TestEveryCallFails fails every call of a program to its store or its disk, in each way. The program may fail too, or make
// up for it; what is promised by then survives that and a power cut, and the next backup just works.
func TestEveryCallFails(t *testing.T) {
	for _, p := range programs() {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			disk, promised := p.prepared(t)
			tried := 0
			for i, f := range storeFaults() {
				tried += p.failsEverywhere(t, f, i, 1, disk, promised)
			}
			const step = 5 // not 6: that is how many calls a Put makes, and each of them must have its turn
			for i, f := range diskFaults() {
				tried += p.failsEverywhere(t, f, i, step, disk, promised)
			}
			t.Logf("%d faults", tried)
		})
	}
}

// failsEverywhere tries a fault at every call, or, where there is less time, at one in step, each fault at others; far into
// a long program, where the same comes again and again, at fewer.
func (p program) failsEverywhere(t *testing.T, f fault, nth, step int, disk *storetest.Disk, promised *promises) (tried int) {
	const often = 24
	for call := 0; ; call++ {
		every := step
		switch {
		case torture():
			every = 1
		case testing.Short():
			every = 13 * step
		case call >= often:
			every = 9 * step
		}
		if (call+nth)%every != 0 {
			continue
		}
		if !p.failsAt(t, f, call, disk, promised) {
			return tried
		}
		tried++
	}
}

// failsAt reports whether the program came to that call.
func (p program) failsAt(t *testing.T, f fault, call int, disk *storetest.Disk, promised *promises) bool {
	t.Helper()
	var hit atomic.Bool
	d := disk.Lose(storetest.Kept)
	x := &trial{t, promised.since(promised.told()), f.in(d, call, &hit)}
	err := p.run(x)
	if err != nil && (!hit.Load() || f.err != nil && !errors.Is(err, f.err)) {
		t.Fatalf("call %d %s: %v", call, f.name, err)
	}
	if !hit.Load() {
		return false
	}
	after := d.Lose(storetest.Lost)
	x.store = store.NewLocalOn(after)
	if err := p.survive(x, after); err != nil {
		t.Fatalf("call %d %s: %v", call, f.name, err)
	}
	return true
}
