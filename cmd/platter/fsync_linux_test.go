package main

import (
	"os"
	"strings"
	"testing"

	"platter/snapshot/image/oracle"
)

// traced starts the program under strace, with what strace is to do to its calls.
func (s *site) traced(what string, args ...string) *process {
	s.t.Helper()
	strace := oracle.Path(s.t, "strace")
	call, _, _ := strings.Cut(what, ":")
	p := s.command(append([]string{"-f", "-qq", "-o", s.path("trace"), "-e", "trace=" + call, "-e", "inject=" + what, s.program}, args...)...)
	p.Path = strace
	if err := p.Start(); err != nil {
		s.t.Fatal(err)
	}
	return p
}

// TestWithoutFsync plays file systems that have no fsync: everything works, with one warning for each that a command writes to. An fsync
// that fails is an error.
func TestWithoutFsync(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.disk("disk", 3<<20, 1, "mixed")
	lines := []string{
		"backup disk --name disk", "restore disk back", "restore disk back --in-place --verify", "restore disk back --force",
		"export disk image.qcow2 --verify", "forget --keep-last 1 --prune", "parity add",
	}
	codes := []string{"EINVAL", "ENOSYS", "EOPNOTSUPP"}
	if testing.Short() {
		codes = codes[:1]
	}
	for _, code := range codes {
		for _, line := range append(lines, "check --read-data --read-only") {
			p := s.traced("fsync:error="+code, strings.Fields(line)...)
			p.ends(0, "")
			want := 1
			switch word, _, _ := strings.Cut(line, " "); word {
			case "check":
				want = 0
			case "restore", "export":
				want = 2 // of the target, and of the repository, which gets a lease
			}
			if got := strings.Count(p.stderr.String(), "does not support fsync"); got != want {
				t.Errorf("%s, fsync says %s: %d warnings, want %d: %s", line, code, got, want, p.stderr.String())
			}
		}
		if err := sameFiles(s.path("disk"), s.path("back")); err != nil {
			t.Error(err)
		}
		for _, name := range []string{"back", "image.qcow2"} {
			if err := os.Remove(s.path(name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, line := range lines[:2] {
		s.traced("fsync:error=EIO", strings.Fields(line)...).ends(1, "input/output error")
	}
}
