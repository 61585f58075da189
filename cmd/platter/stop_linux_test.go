package main

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"platter/repo"
)

// TestStopped stops a backup right before each operation of its store in turn, has a prune run to its end, and lets the
// backup go on. Its disk is one that was kept and forgotten, so what it finds in the repository is what the prune deletes.
func TestStopped(t *testing.T) {
	base := newSite(t)
	base.disk("a", 2<<20, 1, "random")
	base.disk("b", 1<<20, 2, "random")
	base.must("backup", base.path("a"), "--name", "a")
	base.must("backup", base.path("b"), "--name", "b")
	base.must("forget", "a", "--yes")
	base.disk("a", 4<<20, 1, "random") // it has grown
	for name, asleep := range map[string]time.Duration{"past its lease": 2 * time.Hour, "within its lease": 0} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			stopped := 0
			for nth := 1; ; nth++ {
				if testing.Short() && nth%4 > 0 {
					continue
				}
				x := base.copied(t)
				if !x.stopsAt(nth, asleep) {
					break
				}
				stopped++
				if t.Failed() {
					t.Fatalf("stopped before operation %d", nth)
				}
			}
			if stopped < 4 || !testing.Short() && stopped < 20 {
				t.Errorf("it stopped %d times", stopped)
			}
			t.Logf("it stopped %d times", stopped)
		})
	}
}

// copied is another site with copies of the repository, of the cache and of the disks.
func (s *site) copied(t *testing.T) *site {
	t.Helper()
	dir := t.TempDir()
	x := &site{t, dir, filepath.Join(dir, "repo"), s.program}
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() {
			err = os.CopyFS(x.path(e.Name()), os.DirFS(s.path(e.Name())))
		} else {
			err = os.Link(s.path(e.Name()), x.path(e.Name()))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return x
}

// stopsAt plays one stop. It returns false where the backup ended before it came to that operation.
func (s *site) stopsAt(nth int, asleep time.Duration) bool {
	t := s.t
	t.Helper()
	sleeper := *s
	sleeper.program = "stopping"
	p := sleeper.command("backup", s.path("a"), "--name", "a", "--no-cache")
	p.Env = append(p.Env, fmt.Sprintf("%s=%d", stopAt, nth))
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Process.Kill() })
	if !p.stopped() {
		p.ends(0, "")
		s.restores("a", s.path("a"))
		return false
	}
	leased := s.age("work", asleep) > 0
	var pruned struct{ Pending repo.Amount }
	s.query(&pruned, "prune", "--max-unused", "0")
	kept := len(s.snapshots()) == 2
	// Where the snapshot is there already, copies of what it shares may wait.
	if waits := pruned.Pending.Packs > 0; waits && !(leased && asleep == 0) || !waits && leased && asleep == 0 && !kept {
		t.Errorf("a lease is there: %t, the snapshot is: %t, and of prune %+v wait", leased, kept, pruned.Pending)
	}
	if err := p.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if asleep > 0 && leased && !kept {
		p.ends(1, repo.ErrLeaseLost.Error())
	} else {
		p.ends(0, "")
		s.restores("a", s.path("a"))
	}
	s.recovers()
	return true
}

// recovers holds that all is well after a backup was stopped: nothing is damaged, the disk can be kept and restored, and
// another prune leaves nothing over.
func (s *site) recovers() {
	s.t.Helper()
	s.sound()
	s.must("backup", s.path("a"), "--name", "a")
	s.restores("a", s.path("a"))
	var pruned struct {
		Pending repo.Amount
		Unused  int64
	}
	s.query(&pruned, "prune", "--max-unused", "0")
	if pruned.Pending.Packs > 0 || pruned.Unused > 0 {
		s.t.Errorf("the last prune says %+v", pruned)
	}
	for _, dir := range []string{"work", "pending"} {
		if left, err := os.ReadDir(filepath.Join(s.repo, dir)); len(left) > 0 || err != nil {
			s.t.Errorf("%d files are left in %s, %v", len(left), dir, err)
		}
	}
	s.restores("a", s.path("a"))
	s.restores("b", s.path("b"))
	s.sound()
}

// age makes the files in a folder of the repository older, and counts them.
func (s *site) age(dir string, by time.Duration) int {
	s.t.Helper()
	files, err := filepath.Glob(filepath.Join(s.repo, dir, "*"))
	if err != nil {
		s.t.Fatal(err)
	}
	then := time.Now().Add(-by)
	for _, name := range files {
		if err := os.Chtimes(name, then, then); err != nil {
			s.t.Fatal(err)
		}
	}
	return len(files)
}

// stopped waits until the process is stopped, which is true, or has ended.
func (p *process) stopped() bool {
	p.t.Helper()
	const stopped = 5 // CLD_STOPPED
	var info unix.Siginfo
	for {
		err := unix.Waitid(unix.P_PID, p.Process.Pid, &info, unix.WSTOPPED|unix.WEXITED|unix.WNOWAIT, nil)
		if err == nil {
			return info.Code == stopped
		}
		if err != unix.EINTR {
			p.t.Fatal(err)
		}
	}
}
