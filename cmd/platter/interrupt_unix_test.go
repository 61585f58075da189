//go:build unix

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// endings are the signals that end a process in order: Ctrl-C, kill, a terminal that is closed, and Ctrl-\.
var endings = []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT}

// interrupt sends SIGINT, as Ctrl-C does, and holds the process to ending soon, with 130.
func (p *process) interrupt() {
	p.t.Helper()
	p.endBy(syscall.SIGINT)
}

func (p *process) endBy(sig syscall.Signal) {
	p.t.Helper()
	start := time.Now()
	if err := p.Process.Signal(sig); err != nil {
		p.t.Fatal(err)
	}
	p.ends(130, "platter: interrupted\n")
	if took := time.Since(start); took > 5*time.Second { // 0.9 s at most, but test machines can be very busy
		p.t.Errorf("it took %v to end", took)
	}
}

// TestInterruptedBackup checks that Ctrl-C leaves no snapshot and no damage, and that what was stored by then is not stored
// again.
func TestInterruptedBackup(t *testing.T) {
	size := shorter(64<<20, 24<<20)
	for _, kind := range []string{"file", "stream"} {
		t.Run(kind, func(t *testing.T) {
			s := newSite(t)
			source, stdin := "-", random(1)
			if kind == "file" {
				source, stdin = s.disk("disk", size, 1, "random"), nil
			}
			p := s.start(stdin, "backup", source, "--name", "disk")
			s.waitForPacks(6)
			p.interrupt()
			if list := s.snapshots(); len(list) != 0 {
				t.Fatalf("it left %v", list)
			}
			s.sound()

			if kind == "stream" {
				stdin = io.LimitReader(random(1), size)
			}
			again := s.start(stdin, "backup", source, "--name", "disk", "--json")
			again.ends(0, "")
			list := s.snapshots()
			if len(list) != 1 || list[0].Size != size || list[0].Stats.Stored > size-5<<20 {
				t.Errorf("of %d bytes, with six packs stored, it kept %+v", size, list)
			}
			s.sound()
		})
	}
}

// TestInterruptedWaiting checks that Ctrl-C works while a source stays silent.
func TestInterruptedWaiting(t *testing.T) {
	for name, sends := range map[string]int64{"never sent a byte": 0, "fell silent": 8 << 20} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			defer w.Close()
			// The command for the password is run by what ends on signals.
			p := s.command("backup", "-", "--password-command", "echo secret; : > "+s.path("asked"))
			p.Env = append(p.Env, "PLATTER_PASSWORD=")
			p.Stdin = r
			if err := p.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = p.Process.Kill() })
			if _, err := io.Copy(w, io.LimitReader(random(1), sends)); err != nil {
				t.Fatal(err)
			}
			waitFor(t, "the password command", func() bool {
				_, err := os.Stat(s.path("asked"))
				return err == nil
			})
			if sends > 0 {
				s.waitForPacks(1)
			}
			p.interrupt()
			if list := s.snapshots(); len(list) != 0 {
				t.Errorf("it left %v", list)
			}
			s.sound()
		})
	}
}

// TestInterruptedRestore checks that signals leave neither the target nor a part of it, and that what SIGKILL leaves is removed by
// the next restore.
func TestInterruptedRestore(t *testing.T) {
	s := newSite(t)
	s.must("backup", s.disk("disk", shorter(96<<20, 48<<20), 1, "random"), "--name", "disk")
	for _, sig := range append(endings, syscall.SIGKILL) {
		for name, args := range map[string][]string{"disk": {"restore"}, "disk.qcow2": {"export"}} {
			t.Run(fmt.Sprint(args[0], " ", sig), func(t *testing.T) {
				to := filepath.Join(t.TempDir(), name)
				args := append(args, "disk", to, "--force")
				if !s.cutOff(to, sig, args...) {
					t.Fatal("no restore could be interrupted")
				}
				left := filesIn(t, filepath.Dir(to))
				if sig != syscall.SIGKILL {
					if len(left) > 0 {
						t.Errorf("it left %q", left)
					}
					return
				}
				if len(left) != 1 || !strings.HasPrefix(left[0], "."+name+".partial-") {
					t.Errorf("it left %q", left)
				}
				s.must(args...)
				if left := filesIn(t, filepath.Dir(to)); runtime.GOOS == "linux" && len(left) != 1 || !slices.Contains(left, name) {
					t.Errorf("after the next one there is %q", left)
				}
			})
		}
	}
}

// cutOff sends a signal to a restore that has begun to write. One may be done before this process gets to run again, so it has some tries.
func (s *site) cutOff(to string, sig syscall.Signal, args ...string) bool {
	s.t.Helper()
	for range 10 {
		p := s.start(nil, args...)
		waitFor(s.t, "the partial file", func() bool { return len(filesIn(s.t, filepath.Dir(to))) > 0 })
		if err := p.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
			s.t.Fatal(err)
		}
		switch code := p.wait(); {
		case code == 130 && sig != syscall.SIGKILL, code == -1 && sig == syscall.SIGKILL:
			return true
		case code != 0:
			s.t.Fatalf("it ended with %d: %s", code, p.stderr.String())
		}
		if err := os.Remove(to); err != nil {
			s.t.Fatal(err)
		}
	}
	return false
}

func filesIn(t *testing.T, dir string) (names []string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names
}

// TestKilledBackup checks that the next backup takes in what one that was killed had stored.
func TestKilledBackup(t *testing.T) {
	s := newSite(t)
	size := shorter(48<<20, 16<<20)
	disk := s.disk("disk", size, 1, "random")
	killed := s.start(nil, "backup", disk, "--name", "disk")
	s.waitForPacks(4)
	if err := killed.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	killed.wait()
	if list := s.snapshots(); len(list) != 0 {
		t.Fatalf("it left %v", list)
	}
	left := s.packs()
	if out := s.must("check"); !strings.Contains(out, "no damage found") {
		t.Errorf("check says\n%s", out)
	}

	next := s.start(nil, "backup", disk, "--name", "disk")
	next.ends(0, "adopted "+count(left, "pack")+" that no index file listed")
	if list := s.snapshots(); len(list) != 1 || list[0].Stats.Stored > size-3<<20 {
		t.Errorf("of %d bytes, with %d packs stored, it kept %+v", size, left, list)
	}
	s.restores("disk", disk)
	s.sound()
	if out := s.must("check"); strings.Contains(out, "in no index") {
		t.Errorf("check says\n%s", out)
	}
}
