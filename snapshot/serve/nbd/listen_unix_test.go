//go:build unix

package nbd

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestListenUnix makes sockets on free paths, over dead sockets, and not over anything else.
func TestListenUnix(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "s")
	first, err := ListenUnix(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != fs.ModeSocket|0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if first.Addr().String() != path {
		t.Errorf("address %s", first.Addr())
	}
	if _, err := ListenUnix(t.Context(), path); !errors.Is(err, ErrSocketTaken) {
		t.Errorf("a live socket: %v", err)
	}
	if c, err := net.Dial("unix", path); err != nil {
		t.Errorf("the live socket after that: %v", err)
	} else {
		c.Close()
	}
	// A killed process leaves its socket behind.
	dead := filepath.Join(dir, "dead")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: dead, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	second, err := ListenUnix(t.Context(), dead)
	if err != nil {
		t.Fatalf("a dead socket: %v", err)
	}
	// A socket that another process has put in its place is not this one's to remove.
	if err := errors.Join(os.Remove(dead), os.WriteFile(dead, []byte("data"), 0o600)); err != nil {
		t.Fatal(err)
	}
	second.Close()
	if b, err := os.ReadFile(dead); err != nil || string(b) != "data" {
		t.Errorf("the file in its place: %q, %v", b, err)
	}
	if _, err := ListenUnix(t.Context(), dead); err == nil || !strings.Contains(err.Error(), "not a socket") {
		t.Errorf("a file: %v", err)
	}
	first.Close()
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket after Close: %v", err)
	}
	if _, err := ListenUnix(t.Context(), filepath.Join(dir, "missing", "s")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
	if _, err := ListenUnix(t.Context(), filepath.Join(dir, strings.Repeat("x", 100))); err == nil || !strings.Contains(err.Error(), "too long") {
		t.Errorf("a long path: %v", err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
