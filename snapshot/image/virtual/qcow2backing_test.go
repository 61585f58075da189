package virtual

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestQcow2BackingRefused checks that no backing file is opened without consent, or if a guest may have named it. The
// error must say what to do.
func TestQcow2BackingRefused(t *testing.T) {
	dir := t.TempDir()
	create := func(name, backing, format string) string {
		path := filepath.Join(dir, name)
		writeQcow(t, path, qcowFile{size: 1 << 20, backing: backing, format: format})
		return path
	}
	if err := os.WriteFile(filepath.Join(dir, "base.raw"), make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	leaf := create("leaf.qcow2", "", "")
	create("mid.qcow2", "base.raw", "raw")
	create("self.qcow2", "self.qcow2", "qcow2")
	create("a.qcow2", "b.qcow2", "qcow2")
	create("b.qcow2", "a.qcow2", "qcow2")
	if err := os.Symlink("link.qcow2", filepath.Join(dir, "round")); err != nil {
		t.Fatal(err)
	}
	create("link.qcow2", "round", "qcow2")
	tests := []struct {
		backing, format string
		follow          bool
		is              error // nil if it opens
		want            string
	}{
		{"base.raw", "raw", false, ErrUnsupported, "--follow-backing"},
		{"base.raw", "raw", true, nil, ""},
		{filepath.Join(dir, "base.raw"), "raw", true, nil, ""},
		{"base.raw", "", true, nil, "read as raw"},
		{"leaf.qcow2", "", true, nil, "read as qcow2"},
		{"leaf.qcow2", "raw", true, nil, ""}, // opened in the format that the overlay names
		{"mid.qcow2", "qcow2", true, nil, ""},
		{"mid.qcow2", "", true, ErrUnsupported, "qemu-img rebase -u"}, // a guest may have written that name
		{"base.raw", "qcow2", true, ErrDamaged, "begin"},
		{"base.raw", "vmdk", true, ErrUnsupported, `"vmdk"`},
		{"gone.raw", "raw", true, os.ErrNotExist, "gone.raw"},
		{"self.qcow2", "qcow2", true, ErrDamaged, "its own chain of backing files"},
		{"a.qcow2", "qcow2", true, ErrDamaged, "its own chain of backing files"},
		{"link.qcow2", "qcow2", true, ErrDamaged, "its own chain of backing files"},
		{"top.qcow2", "qcow2", true, ErrDamaged, "its own chain of backing files"},
		{`json:{"driver":"file","filename":"/etc/passwd"}`, "raw", true, ErrUnsupported, "not a path"},
		{"nbd:localhost:10809", "raw", true, ErrUnsupported, "not a path"},
		{"nbd://host/x", "raw", true, ErrUnsupported, "not a path"},
		{"fat:/etc", "", true, ErrUnsupported, "not a path"},
		{"base\x00.raw", "raw", true, ErrDamaged, `\x00`},
		{"\x1b[2J", "raw", true, ErrDamaged, `\x1b`},
	}
	for _, tt := range tests {
		top := create("top.qcow2", tt.backing, tt.format)
		err := openErr(t, top, Options{FollowBacking: tt.follow})
		switch {
		case tt.is == nil && err != nil:
			t.Errorf("%q as %q: %v", tt.backing, tt.format, err)
		case tt.is == nil:
			notes := strings.Join(mustOpen(t, top, "qcow2", Options{FollowBacking: true}).Notes, "\n")
			if !strings.Contains(notes, tt.want) || tt.want == "" && notes != "" {
				t.Errorf("%q as %q: notes %q, want %q", tt.backing, tt.format, notes, tt.want)
			}
		case !errors.Is(err, tt.is) || !strings.Contains(err.Error(), tt.want):
			t.Errorf("%q as %q: %v, want %v that says %s", tt.backing, tt.format, err, tt.is, tt.want)
		}
	}
	if err := openErr(t, leaf, Options{}); err != nil {
		t.Error(err)
	}
}

// TestQcow2LongChain checks that the length of a chain is limited.
func TestQcow2LongChain(t *testing.T) {
	dir := t.TempDir()
	for i := range maxQcowChain + 1 {
		f := qcowFile{size: 1 << 20}
		if i > 0 {
			f.backing, f.format = fmt.Sprint(i-1), "qcow2"
		}
		writeQcow(t, filepath.Join(dir, fmt.Sprint(i)), f)
	}
	want := append(bytes.Repeat([]byte{7}, 512), make([]byte, 1<<20-512)...)
	compare(t, mustOpen(t, filepath.Join(dir, fmt.Sprint(maxQcowChain-1)), "qcow2", Options{FollowBacking: true}), want)
	err := openErr(t, filepath.Join(dir, fmt.Sprint(maxQcowChain)), Options{FollowBacking: true})
	if !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), "qemu-img") {
		t.Errorf("a longer chain: %v, want ErrUnsupported", err)
	}
}

// TestQcow2BackingInAFolder checks that the name of a backing file is relative to the file that names it, on every
// level.
func TestQcow2BackingInAFolder(t *testing.T) {
	dir, d := t.TempDir(), randomDisk(rand.New(rand.NewPCG(2, 5)), 1<<20)
	if err := os.MkdirAll(filepath.Join(dir, "mid", "low"), 0o700); err != nil {
		t.Fatal(err)
	}
	writeRaw(t, filepath.Join(dir, "mid", "low"), d)
	writeQcow(t, filepath.Join(dir, "mid", "mid.qcow2"), qcowFile{size: 1 << 20, backing: "low/disk.raw", format: "raw"})
	writeQcow(t, filepath.Join(dir, "top.qcow2"), qcowFile{size: 2 << 20, backing: "mid/mid.qcow2", format: "qcow2"})
	compare(t, mustOpen(t, filepath.Join(dir, "top.qcow2"), "qcow2", Options{FollowBacking: true}), append(d.Data, make([]byte, 1<<20)...))
}
