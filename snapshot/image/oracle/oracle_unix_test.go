//go:build unix

package oracle

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// A recorder is a test that records how it ended.
type recorder struct {
	testing.TB
	ended string
}

func (r *recorder) Helper()                   {}
func (r *recorder) Fatalf(f string, a ...any) { r.ended = "failed: " + fmt.Sprintf(f, a...); panic(r) }

func (r *recorder) Skipf(f string, a ...any) { r.ended = "skipped: " + fmt.Sprintf(f, a...); panic(r) }

// ended returns how a test ends that calls do.
func ended(do func(t testing.TB)) string {
	r := new(recorder)
	func() {
		defer func() {
			if p := recover(); p != nil && p != any(r) {
				panic(p)
			}
		}()
		do(r)
	}()
	return r.ended
}

// TestLacking checks that a missing program skips a test, and fails it in CI.
func TestLacking(t *testing.T) {
	missing := func(t testing.TB) { Run(t, "no-such-program") }
	for ci, want := range map[string]string{"": "skipped", "1": "failed"} {
		t.Setenv("CI", ci)
		if got := ended(missing); got != want+": no no-such-program; scripts/deps.sh installs it" {
			t.Errorf("CI=%q: %s", ci, got)
		}
	}
}

// TestRun checks that a program's failure fails the test, and that only standard output is returned.
func TestRun(t *testing.T) {
	program := func(name, script string) {
		t.Helper()
		if err := os.WriteFile(name, []byte("#!/bin/sh\n"+script), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	t.Setenv("PATH", dir+string(filepath.ListSeparator)+os.Getenv("PATH"))
	program(filepath.Join(dir, "speaks"), "echo aside >&2; echo out $1; cat")
	program(filepath.Join(dir, "fails"), "echo why >&2; exit 3")
	if got := Feed(t, "input\n", "speaks", "word"); got != "out word\ninput" {
		t.Errorf("%q", got)
	}
	if got := ended(func(t testing.TB) { Run(t, "fails") }); got != fmt.Sprintf("failed: [%q]: exit status 3\nwhy\n", filepath.Join(dir, "fails")) {
		t.Errorf("%q", got)
	}
}

// TestBlank checks the size and the bytes of a blank file.
func TestBlank(t *testing.T) {
	data, err := os.ReadFile(Blank(t, 3))
	if err != nil || string(data) != "\x00\x00\x00" {
		t.Errorf("%q, %v", data, err)
	}
}
