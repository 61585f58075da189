package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"
)

// A scripted is a FileSystem whose calls return a test's errors one after the other.
type scripted struct {
	FileSystem
	answers []error
	calls   int
}

func (s *scripted) next() error {
	s.calls++
	if len(s.answers) == 0 {
		return nil
	}
	err := s.answers[0]
	s.answers = s.answers[1:]
	return err
}

func (s *scripted) Rename(string, string) error { return s.next() }
func (s *scripted) Link(string, string) error   { return s.next() }
func (s *scripted) Remove(string) error         { return s.next() }
func (s *scripted) Touch(string) error          { return s.next() }
func (s *scripted) Mkdir(string) error          { return s.next() }
func (s *scripted) SyncFolder(string) error     { return s.next() }
func (s *scripted) Create(string) (File, error) { return nil, s.next() }
func (s *scripted) Open(string) (OpenFile, int64, error) {
	return nil, 0, s.next()
}

// calling has every call that can be retried, by name.
var calling = map[string]func(FileSystem) error{
	"rename": func(f FileSystem) error { return f.Rename("a", "b") },
	"link":   func(f FileSystem) error { return f.Link("a", "b") },
	"remove": func(f FileSystem) error { return f.Remove("a") },
	"touch":  func(f FileSystem) error { return f.Touch("a") },
	"mkdir":  func(f FileSystem) error { return f.Mkdir("a") },
	"sync":   func(f FileSystem) error { return f.SyncFolder("a") },
	"create": func(f FileSystem) error { _, err := f.Create("a"); return err },
	"open":   func(f FileSystem) error { _, _, err := f.Open("a"); return err },
}

// onWindows classifies errors as on Windows.
func onWindows(err error) transience {
	var code syscall.Errno
	if errors.As(err, &code) && busyOnWindows(code) {
		return busy
	}
	return stays
}

// TestBusy checks the waits for a file that a virus scanner has open. Each is longer, up to a limit, and they end with
// ctx.
func TestBusy(t *testing.T) {
	sharing := &os.LinkError{Op: "rename", Err: syscall.Errno(32)}
	for name, test := range map[string]struct {
		answers []error
		stopAt  int // the number of the wait, from 1, in which ctx ends
		waits   []time.Duration
		want    error
	}{
		"free":            {},
		"once":            {answers: []error{sharing}, waits: []time.Duration{5 * time.Millisecond}},
		"denied, locked":  {answers: []error{syscall.Errno(5), syscall.Errno(33), nil}, waits: []time.Duration{5 * time.Millisecond, 10 * time.Millisecond}},
		"another error":   {answers: []error{sharing, fs.ErrNotExist}, waits: []time.Duration{5 * time.Millisecond}, want: fs.ErrNotExist},
		"no such reason":  {answers: []error{syscall.Errno(87)}, want: syscall.Errno(87)},
		"ctx ends":        {answers: slices.Repeat([]error{sharing}, 9), stopAt: 2, waits: []time.Duration{5 * time.Millisecond, 10 * time.Millisecond}, want: syscall.Errno(32)},
		"for ever in use": {answers: slices.Repeat([]error{sharing}, 99), waits: busyWaits(), want: syscall.Errno(32)},
	} {
		for call, do := range calling {
			t.Run(name+"/"+call, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				var waits []time.Duration
				p := retryPolicy{transience: onWindows, wait: func(ctx context.Context, d time.Duration) error {
					if waits = append(waits, d); len(waits) == test.stopAt {
						cancel()
					}
					return ctx.Err()
				}}
				s := &scripted{answers: slices.Clone(test.answers)}
				err := do(retrying{FileSystem: s, ctx: ctx, retryPolicy: p, unsynced: func(error) {}})
				if !errors.Is(err, test.want) || (err == nil) != (test.want == nil) || !slices.Equal(waits, test.waits) {
					t.Errorf("%v after waits of %v; want %v after %v", err, waits, test.want, test.waits)
				}
			})
		}
	}
}

// busyWaits returns the waits of a call that never succeeds.
func busyWaits() (waits []time.Duration) {
	total := time.Duration(0)
	for next := firstWait; total < longestBusy; next = min(2*next, longestWait) {
		waits, total = append(waits, next), total+next
	}
	return waits
}

func TestBusyIsBounded(t *testing.T) {
	total := time.Duration(0)
	for _, d := range busyWaits() {
		total += d
	}
	if total < 3*time.Second || total > 6*time.Second {
		t.Errorf("a file that is for ever in use is waited for %v", total)
	}
}

// TestWaitEnds checks that a real wait ends with its context.
func TestWaitEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := waitFor(ctx, time.Hour); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := waitFor(t.Context(), time.Nanosecond); err != nil {
		t.Error(err)
	}
}

// TestInterruptsAreBounded checks that a file system that always interrupts does not block a command forever.
func TestInterruptsAreBounded(t *testing.T) {
	always := func(error) transience { return interrupted }
	for call, do := range calling {
		s := &scripted{answers: slices.Repeat([]error{syscall.EINTR}, 2*maxInterrupts)}
		err := do(retrying{FileSystem: s, ctx: t.Context(), retryPolicy: retryPolicy{transience: always}, unsynced: func(error) {}})
		if !errors.Is(err, syscall.EINTR) || s.calls != maxInterrupts+1 {
			t.Errorf("%s: %v after %d calls", call, err, s.calls)
		}
	}
}

// TestLacksSync checks that lacksSync distinguishes unsupported syncs from failed ones, and from other calls.
func TestLacksSync(t *testing.T) {
	at := func(op string, err error) error {
		return fmt.Errorf("x: %w", &fs.PathError{Op: op, Path: "f", Err: err})
	}
	for _, test := range []struct {
		err  error
		want bool
	}{
		{at("sync", unsupportedSync), true},
		{at("sync", errors.ErrUnsupported), false},
		{at("sync", syscall.EIO), false},
		{at("sync", syscall.ENOSPC), false},
		{at("open", unsupportedSync), false},
		{unsupportedSync, false},
		{nil, false},
	} {
		if test.err != nil && lacksSync(test.err) != test.want {
			t.Errorf("%v: %v", test.err, !test.want)
		}
	}
}
