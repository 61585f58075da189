package main

import (
	"os"
	"strings"
	"testing"
)

// TestNBDIdentity checks when an export is the disk of a version.
func TestNBDIdentity(t *testing.T) {
	s := newSite(t)
	for _, folder := range []string{"a", "b"} {
		if err := os.Mkdir(s.path(folder), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	uri := func(at, export string) string { return "nbd+unix:///" + export + "?socket=" + s.path(at) }
	table := func(path, id string) {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		entry := "\x00\x00\x00\x00\x83\x00\x00\x00\x40\x00\x00\x00\x40\x00\x00\x00"
		if _, err := f.WriteAt([]byte(id+"\x00\x00"+entry+strings.Repeat("\x00", 48)+"\x55\xaa"), 440); err != nil {
			t.Fatal(err)
		}
	}
	one, two := s.disk("one", 300<<10, 1, "random"), s.disk("two", 300<<10, 2, "random")
	end := serveNBD(t, s.path("a/web.nbd"), "nbdkit", "file", one)
	serveNBD(t, s.path("b/web.nbd"), "nbdkit", "file", two)

	// The same URI is the same disk, however it is written. A name comes from the export, or the socket.
	backup := func(code int, words, uri string, args ...string) string {
		t.Helper()
		p := s.start(nil, append([]string{"backup", uri, "--host", "h"}, args...)...)
		p.ends(code, words)
		if words == "" && p.stderr.String() != "" {
			t.Errorf("%v said %s", p.Args, p.stderr.String())
		}
		return p.stdout.String()
	}
	if out := backup(0, "", uri("a/web.nbd", "")); !strings.HasSuffix(out, " of h/web.nbd\n") {
		t.Errorf("its name: %s", out)
	}
	backup(0, "", "nbd+unix:///?socket=a/../a/web.nbd")
	if out := backup(0, "", uri("a/web.nbd", "vda")); !strings.HasSuffix(out, " of h/vda\n") {
		t.Errorf("its name: %s", out)
	}
	if out := s.must("show", "h/web.nbd"); !strings.Contains(out, uri("a/web.nbd", "")+" (nbd)") {
		t.Errorf("show says\n%s", out)
	}

	// Another server or another export under the name is another disk, unless the user says so or the content does.
	backup(1, "is another disk than", uri("b/web.nbd", ""))
	backup(0, "cannot tell whether", uri("b/web.nbd", ""), "--name", "h/web.nbd", "--dry-run")
	backup(0, "cannot tell whether", uri("a/web.nbd", "vda"), "--name", "h/web.nbd", "--dry-run")
	backup(0, "cannot tell whether", one, "--name", "h/web.nbd", "--dry-run")
	table(one, "\x11\x11\x11\x11")
	table(two, "\x22\x22\x22\x22")
	backup(0, "", uri("a/web.nbd", ""))
	backup(1, "it has the MBR partition table 22222222, that version has the MBR partition table 11111111", uri("b/web.nbd", ""), "--name", "h/web.nbd")
	table(two, "\x11\x11\x11\x11")
	backup(1, "which is still there", uri("b/web.nbd", ""))
	backup(0, "", uri("b/web.nbd", ""), "--name", "h/web.nbd", "--dry-run")
	backup(0, "", one, "--name", "h/web.nbd", "--dry-run")

	// Moved: the socket is missing.
	end()
	if err := os.Remove(s.path("a/web.nbd")); err != nil {
		t.Fatal(err)
	}
	backup(0, "", uri("b/web.nbd", ""))
}
