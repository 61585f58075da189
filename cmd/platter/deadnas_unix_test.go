//go:build unix

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestDeadNAS has a restore hang in operations of its store, and then interrupts it: it ends, and leaves nothing of a file that it was
// writing. In the last ones the file is whole, and only its lease is left to be removed.
func TestDeadNAS(t *testing.T) {
	s := newSite(t)
	s.must("backup", s.disk("disk", 2<<20, 1, "random"), "--name", "disk")
	hung, writing := 0, 0
	for nth := 1; ; nth += 1 + nth/10 {
		to, marker := t.TempDir(), filepath.Join(t.TempDir(), "hangs")
		stuck := *s
		stuck.program = "stopping"
		p := stuck.command("restore", "disk", filepath.Join(to, "disk"), "--no-cache")
		p.Env = append(p.Env, fmt.Sprintf("%s=%d", stopAt, nth), hangsBy+"="+marker)
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = p.Process.Kill() })
		ended := make(chan int, 1)
		go func() {
			_ = p.Wait()
			ended <- p.ProcessState.ExitCode()
		}()
		code := -2
		waitFor(t, "the end, or what is none", func() bool {
			select {
			case code = <-ended:
				return true
			default:
				_, err := os.Stat(marker)
				return err == nil
			}
		})
		if code == 0 {
			break
		}
		if code != -2 {
			t.Fatalf("operation %d: it ended with %d: %s", nth, code, p.stderr.String())
		}
		hung++
		if strings.Contains(fmt.Sprint(filesIn(t, to)), ".disk.partial-") {
			writing++
		}
		if err := p.Process.Signal(endings[nth%len(endings)]); err != nil {
			t.Fatal(err)
		}
		if code = <-ended; code != 130 || !strings.Contains(p.stderr.String(), "platter: interrupted\n") {
			t.Errorf("hanging in operation %d, it ended with %d: %s", nth, code, p.stderr.String())
		}
		if left := fmt.Sprint(filesIn(t, to)); strings.Contains(left, "partial") {
			t.Fatalf("hanging in operation %d, it left %s", nth, left)
		}
	}
	if hung < 4 || writing == 0 {
		t.Errorf("it hung %d times, %d of them while it wrote", hung, writing)
	}
}

// TestNohup checks that a hang-up that was ignored when the program began stays so.
func TestNohup(t *testing.T) {
	s := newSite(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p := s.command("backup", "-", "--name", "disk", "--before", ": >ready", "--after", ": >after")
	p.Path, p.Args = "/bin/sh", append([]string{"sh", "-c", `trap "" HUP; exec "$0" "$@"`, p.Path}, p.Args[1:]...)
	p.Stdin = r
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Process.Kill() })
	s.waitForFile("ready")
	for range 3 {
		if err := p.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.WriteString("a disk"); err != nil {
		t.Fatal(err)
	}
	w.Close()
	p.ends(0, "")
	if len(s.snapshots()) != 1 {
		t.Error("the disk was not kept")
	}
}

// unread returns a pipe without a reader.
func unread(t *testing.T) *os.File {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	r.Close()
	return w
}

// TestNoReader runs commands whose standard output or error has no reader.
func TestNoReader(t *testing.T) {
	s := newSite(t)
	s.disk("disk", 1<<20, 1, "random")
	s.must("backup", "disk", "--name", "disk")
	for _, tt := range []struct {
		args string
		says string
	}{
		{"snapshots", ""},
		{"snapshots --json", ""},
		{"show disk", ""},
		{"man", ""},
		{"check", ""},
		{"version", ""},
		{"restore disk -", "write to standard output"},
		{"export disk - --format qcow2", "write to standard output"},
	} {
		p := s.command(strings.Fields(tt.args)...)
		p.Stdout = unread(t)
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		p.ends(1, tt.says)
		if tt.says == "" && p.stderr.String() != "" {
			t.Errorf("%s says %q", tt.args, p.stderr.String())
		}
	}
	for name, silent := range map[string]func() *os.File{
		"unread": func() *os.File { return unread(t) },
		"full": func() *os.File {
			f, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
			if err != nil {
				f = unread(t) // not every system has one
			}
			return f
		},
	} {
		after := "after-" + name
		p := s.command("backup", "disk", "--name", "disk", "-v", "--before", "for i in 1 2 3 4 5 6 7 8 9; do echo $i $i $i >&2 || exit; done", "--after", "echo done >&2 && : >"+after)
		p.Stderr = silent()
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		if code := p.wait(); code != 0 {
			t.Errorf("%s: it ended with %d", name, code)
		}
		if _, err := os.Stat(s.path(after)); err != nil {
			t.Error(err)
		}
	}
	if n := len(s.snapshots()); n != 3 {
		t.Errorf("there are %d versions", n)
	}
}
