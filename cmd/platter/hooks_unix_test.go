//go:build unix

package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
)

// TestInterruptedHooks checks that what is to run in the end runs after each signal too, be it while the disk is read or before.
func TestInterruptedHooks(t *testing.T) {
	for _, sig := range endings {
		for name, before := range map[string]string{"reading": ": >ready", "before": ": >ready; exec sleep 600"} {
			t.Run(fmt.Sprint(sig, " ", name), func(t *testing.T) {
				s := newSite(t)
				r, w, err := os.Pipe() // a disk that never comes
				if err != nil {
					t.Fatal(err)
				}
				defer r.Close()
				defer w.Close()
				p := s.start(r, "backup", "-", "--name", "disk", "--before", before, "--after", `echo "$PLATTER_STATUS<$PLATTER_SNAPSHOT>" >after`)
				s.waitForFile("ready")
				p.endBy(sig)
				if said, err := os.ReadFile(s.path("after")); err != nil || string(said) != "130<>\n" {
					t.Errorf("%v, or it said %q", err, said)
				}
			})
		}
	}
}

// waitForFile waits until a file is there that a command makes.
func (s *site) waitForFile(name string) {
	s.t.Helper()
	waitFor(s.t, name, func() bool { _, err := os.Stat(s.path(name)); return err == nil })
}

// untilTold is a command that reports its start, and ends on request.
const untilTold = ": >begun; until test -e go; do sleep 0.01; done; : >done"

// TestSignalsDuringAfter sends signals while --after runs, to all processes of the terminal, as the kernel does: it is not cut off.
func TestSignalsDuringAfter(t *testing.T) {
	hangUp := []syscall.Signal{syscall.SIGHUP, syscall.SIGHUP, syscall.SIGHUP}
	for name, tt := range map[string]struct {
		before []syscall.Signal // --after begins
		during []syscall.Signal
	}{
		"the terminal is closed, and the shell sends it again": {[]syscall.Signal{syscall.SIGHUP}, hangUp},
		"the terminal is closed meanwhile":                     {nil, hangUp},
		"Ctrl-C":                                               {nil, []syscall.Signal{syscall.SIGINT}},
		"Ctrl-\\":                                              {nil, []syscall.Signal{syscall.SIGQUIT}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			source, stdin := s.disk("disk", 1<<20, 1, "random"), (*os.File)(nil)
			if len(tt.before) > 0 {
				r, w, err := os.Pipe() // a disk that never comes
				if err != nil {
					t.Fatal(err)
				}
				defer r.Close()
				defer w.Close()
				source, stdin = "-", r
			}
			p := s.command("backup", source, "--name", "disk", "--before", ": >ready", "--after", untilTold)
			p.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			if stdin != nil {
				p.Stdin = stdin
			}
			if err := p.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = syscall.Kill(-p.Process.Pid, syscall.SIGKILL) }()
			s.waitForFile("ready")
			send := func(signals []syscall.Signal) {
				for _, sig := range signals {
					if err := syscall.Kill(-p.Process.Pid, sig); err != nil {
						t.Fatal(err)
					}
				}
			}
			send(tt.before)
			s.waitForFile("begun")
			send(tt.during)
			if err := os.WriteFile(s.path("go"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if code := p.wait(); code != 130 && (code != 0 || len(tt.before) > 0) { // 0 where the disk was kept, and --after was fast
				t.Errorf("it ended with %d: %s", code, p.stderr.String())
			}
			if _, err := os.Stat(s.path("done")); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestEndOfSession sends what a process gets when its user is logged off: a hang-up, and then SIGTERM.
func TestEndOfSession(t *testing.T) {
	s := newSite(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	p := s.start(r, "backup", "-", "--name", "disk", "--before", ": >ready", "--after", untilTold)
	s.waitForFile("ready")
	for _, sig := range []syscall.Signal{syscall.SIGHUP, syscall.SIGTERM, syscall.SIGHUP} {
		if err := p.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		s.waitForFile("begun")
	}
	if err := os.WriteFile(s.path("go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	p.ends(130, "interrupted")
	if _, err := os.Stat(s.path("done")); err != nil {
		t.Error(err)
	}
}

// TestFarewellOnce checks that the work at the end is done once, by the command or by main,
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
