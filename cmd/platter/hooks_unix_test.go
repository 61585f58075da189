//go:build unix

package main

import (
	"errors"
	"os"
	"strings"
	"testing"
)

// TestInterruptedHooks holds that what is to run in the end runs after Ctrl-C too, be it while the disk is read or before.
func TestInterruptedHooks(t *testing.T) {
	for name, before := range map[string]string{"reading": ": >ready", "before": ": >ready; exec sleep 600"} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			r, w, err := os.Pipe() // a disk that never comes
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			defer w.Close()
			p := s.start(r, "backup", "-", "--name", "disk", "--before", before, "--after", `echo "$PLATTER_STATUS<$PLATTER_SNAPSHOT>" >after`)
			waitFor(t, "the first command", func() bool { _, err := os.Stat(s.path("ready")); return err == nil })
			p.interrupt()
			if said, err := os.ReadFile(s.path("after")); err != nil || string(said) != "130<>\n" {
				t.Errorf("%v, or it said %q", err, said)
			}
		})
	}
}

// TestFarewellOnce holds that what is to be done in the end is done once, by whoever comes first: the command, or main,
// which a signal has leave the command behind.
func TestFarewellOnce(t *testing.T) {
	var f farewell
	first, runs := errors.New("first"), 0
	err := f.after(func() error { return first }, func(err error) error {
		runs++
		return errors.Join(err, errIncomplete)
	})
	if err != first {
		t.Error(err)
	}
	ready := 0
	if err := f.run(first, func() { ready++ }); !errors.Is(err, errIncomplete) || !errors.Is(err, first) {
		t.Error(err)
	}
	if err := f.run(first, func() { ready++ }); err != first || runs != 1 || ready != 1 {
		t.Errorf("%v after %d runs and %d calls", err, runs, ready)
	}
	var open openSources
	closed := 0
	src := func() closeFunc { return func() error { closed++; return nil } }
	if err := errors.Join(open.add(src()), open.close()); err != nil || closed != 1 {
		t.Error(err, closed)
	}
	if err := open.add(src()); !errors.Is(err, errInterrupted) || closed != 2 {
		t.Error(err, closed)
	}
}

// TestHookLeavesSomethingRunning has a command start what goes on running with its output open: that is waited for a while
// and is no failure.
func TestHookLeavesSomethingRunning(t *testing.T) {
	e, _, stderr := testEnv(t)
	if err := e.runHook(t.Context(), "echo hello; sleep 8 &", []string{"A=b"}); err != nil || !strings.Contains(stderr.String(), "hello") {
		t.Errorf("%v: %s", err, stderr.String())
	}
}

type closeFunc func() error

func (f closeFunc) Close() error { return f() }
