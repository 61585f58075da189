package main

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// cheapKDF are init's flags for tests that are not about passwords.
var cheapKDF = []string{"--kdf-memory", "64K", "--kdf-passes", "1", "--kdf-lanes", "1"}

// A site is a folder with a repository in it, and the real program as a process of its own to use on it.
type site struct {
	t       *testing.T
	dir     string // to work in
	repo    string
	program string // "platter" is this test binary: see TestMain
}

// newSite makes a repository whose packs are small, so that a test sees them come early.
func newSite(t *testing.T) *site {
	dir := t.TempDir()
	s := &site{t, dir, filepath.Join(dir, "repo"), "platter"}
	s.must(append([]string{"init", "--pack-size", "1M"}, cheapKDF...)...)
	return s
}

// path is a file in the site's folder.
func (s *site) path(name string) string { return filepath.Join(s.dir, name) }

// disk makes a disk there and returns its path.
func (s *site) disk(name string, size int64, seed uint64, kind string) string {
	s.t.Helper()
	if err := makeDisk(s.path(name), size, seed, kind); err != nil {
		s.t.Fatal(err)
	}
	return s.path(name)
}

// A process is the program under way.
type process struct {
	*exec.Cmd
	t              *testing.T
	stdout, stderr buffer
}

// command prepares the program, without any setting of the user who runs the tests.
func (s *site) command(args ...string) *process {
	p := &process{Cmd: exec.Command(s.program, args...), t: s.t}
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "PLATTER_") && !strings.HasPrefix(v, "GOMEMLIMIT=") {
			p.Env = append(p.Env, v)
		}
	}
	p.Env = append(p.Env, "PLATTER_PASSWORD=secret", "PLATTER_REPOSITORY="+s.repo, "PLATTER_CACHE_DIR="+s.path("cache"))
	p.Dir, p.Stdout, p.Stderr = s.dir, &p.stdout, &p.stderr
	return p
}

// start starts the program, and ends it with the test if it has not ended by then.
func (s *site) start(stdin io.Reader, args ...string) *process {
	s.t.Helper()
	p := s.command(args...)
	p.Stdin = stdin
	if err := p.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if p.ProcessState == nil {
			_, _ = p.Process.Kill(), p.Wait()
		}
	})
	return p
}

// wait returns the exit code; -1 stands for a signal.
func (p *process) wait() int {
	p.t.Helper()
	if err := p.Wait(); err != nil {
		if _, ok := errors.AsType[*exec.ExitError](err); !ok {
			p.t.Fatal(err)
		}
	}
	return p.ProcessState.ExitCode()
}

// ends waits for the program and holds it to an exit code and, where words is not empty, to something on standard error.
func (p *process) ends(code int, words string) {
	p.t.Helper()
	if got := p.wait(); got != code || !strings.Contains(p.stderr.String(), words) {
		p.t.Fatalf("%v ended with %d, want %d and %q, and said\n%s%s", p.Args, got, code, words, p.stdout.String(), p.stderr.String())
	}
}

// must runs the program, which must exit with 0, and returns what it printed.
func (s *site) must(args ...string) string {
	s.t.Helper()
	p := s.start(nil, args...)
	p.ends(0, "")
	return p.stdout.String()
}

// query runs a command that prints one JSON document.
func (s *site) query(into any, args ...string) {
	s.t.Helper()
	if err := json.Unmarshal([]byte(s.must(append(args, "--json")...)), into); err != nil {
		s.t.Fatalf("%v: %v", args, err)
	}
}

// A kept snapshot is what backup --json tells of it.
type kept struct {
	ID       string `json:"id"`
	Size     int64  `json:"size"`
	Modified bool   `json:"modified"`
	Stats    struct{ Data, Read, New, Stored int64 }
}

// snapshots lists what is kept.
func (s *site) snapshots() (list []kept) {
	s.t.Helper()
	s.query(&list, "snapshots")
	return list
}

// sound holds that check, having read everything, finds nothing wrong.
func (s *site) sound() {
	s.t.Helper()
	if out := s.must("check", "--read-data"); !strings.Contains(out, "no damage found") {
		s.t.Errorf("check says\n%s", out)
	}
}

// restores holds that a snapshot is a disk, byte for byte.
func (s *site) restores(snapshot, disk string) {
	s.t.Helper()
	s.must("restore", snapshot, s.path("restored"), "--force", "--verify")
	if err := sameFiles(disk, s.path("restored")); err != nil {
		s.t.Errorf("%s is not what was kept: %v", snapshot, err)
	}
}

// packs counts the packs that are there under their names.
func (s *site) packs() (n int) {
	err := filepath.WalkDir(filepath.Join(s.repo, "packs"), func(_ string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && d.Type().IsRegular() && len(d.Name()) == 64 {
			n++
		}
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

// waitFor looks until ready says so. What a test waits for takes milliseconds; the deadline only ends a test that failed.
func waitFor(t *testing.T, what string, ready func() bool) {
	t.Helper()
	deadline := time.After(time.Minute)
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	for !ready() {
		select {
		case <-deadline:
			t.Fatalf("waited in vain for %s", what)
		case <-look.C:
		}
	}
}

// waitForPacks waits until there are at least n.
func (s *site) waitForPacks(n int) {
	s.t.Helper()
	waitFor(s.t, "packs", func() bool { return s.packs() >= n })
}

// random is a stream that has no end and never yields the same bytes again.
func random(seed byte) io.Reader { return rand.NewChaCha8([32]byte{seed}) }

// shorter is the smaller size for -short, which the race detector's run uses.
func shorter(size, short int64) int64 {
	if testing.Short() {
		return short
	}
	return size
}
