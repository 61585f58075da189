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
	err  error // the error that the program returns, if it fails; nil if any will do
	// in makes call number i fail, counting only calls that can fail in this way. It sets hit when that call comes.
	in func(d *storetest.Disk, i int, hit *atomic.Bool) store.Store
}

// storeFaults returns the faults of a store.
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

// diskFaults returns the faults of the disk below a store.Local, in calls that change the disk.
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

// TestEveryCallFails fails every call of a program to its store or its disk, in each way. The program may fail, or may
// recover. What it has promised by then survives the failure and a power cut, and the next backup works.
func TestEveryCallFails(t *testing.T) {
	for _, p := range programs() {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			disk, promised := p.prepared(t)
			tried := 0
			for i, f := range storeFaults() {
				tried += p.failsEverywhere(t, f, i, 1, disk, promised)
			}
			const step = 5 // not 6, because a Put makes 6 calls and each of them must have its turn
			for i, f := range diskFaults() {
				tried += p.failsEverywhere(t, f, i, step, disk, promised)
			}
			t.Logf("%d faults", tried)
		})
	}
}

// failsEverywhere tries a fault at every call. If time is short, it tries one call in step, each fault at other calls.
// Far into a long program, where the same calls repeat, it tries fewer.
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

// failsAt reports whether the program reached that call. What runs next, after a power cut or before it, must not build
// on what the cut may take away.
func (p program) failsAt(t *testing.T, f fault, call int, disk *storetest.Disk, promised *promises) bool {
	t.Helper()
	nexts := []func(*trial) error{p.rerun, (*trial).repair, nil, nil}
	for i, next := range nexts {
		// 7, because no program repeats itself after 7 calls.
		if turn := min(call%7, len(nexts)-1); !torture() && i != turn {
			continue
		}
		var hit atomic.Bool
		d := disk.Lose(storetest.Kept)
		x := &trial{t, promised.since(promised.now()), f.in(d, call, &hit)}
		err := p.run(x)
		if err != nil && (!hit.Load() || f.err != nil && !errors.Is(err, f.err)) {
			t.Fatalf("call %d %s: %v", call, f.name, err)
		}
		if !hit.Load() {
			return false
		}
		if d.Fail = nil; i == len(nexts)-1 {
			d = d.Lose(storetest.Lost)
		}
		if err := p.goOn(x, d, next); err != nil {
			t.Fatalf("call %d %s, and then (%d) %v", call, f.name, i, err)
		}
	}
	return true
}

// goOn runs a program, then cuts the power, then runs a backup.
func (p program) goOn(x *trial, disk *storetest.Disk, next func(*trial) error) error {
	x.store = store.NewLocalOn(disk)
	if next != nil && x.now().made {
		if err := next(x); err != nil {
			return fmt.Errorf("the next program: %w", err)
		}
		disk = disk.Lose(storetest.Lost)
		x.store = store.NewLocalOn(disk)
	}
	return p.survive(x, disk)
}

// rerun does what users do when a program has failed.
func (p program) rerun(x *trial) error {
	if p.once {
		return nil
	}
	return p.run(x)
}
