package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"platter/snapshot/image/oracle"
)

// mountSmall mounts a file system of that size in a new folder.
func mountSmall(t *testing.T, size string) string {
	t.Helper()
	if os.Getuid() != 0 {
		oracle.Lacking(t, "only root can mount a small file system")
	}
	dir := t.TempDir()
	if err := unix.Mount("platter-test", dir, "tmpfs", 0, "size="+size); err != nil {
		oracle.Lacking(t, "mount a small file system: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// TestFullNAS checks that a NAS without room costs the backup that found it full, and nothing else.
func TestFullNAS(t *testing.T) {
	nas := mountSmall(t, "8m")
	s := &site{t, t.TempDir(), filepath.Join(nas, "repo"), "platter"}
	s.must(append([]string{"init", "--pack-size", "1M"}, cheapKDF...)...)
	small, large := s.disk("small", 2<<20, 1, "random"), s.disk("large", 16<<20, 2, "random")
	s.must("backup", small, "--name", "small")

	for range 2 { // not only the first one, which had some room
		p := s.start(nil, "backup", large, "--name", "large")
		p.ends(1, "no space left")
		if text := p.stderr.String(); strings.Count(text, "\n") > 3 {
			t.Errorf("it says\n%s", text)
		}
		if list := s.snapshots(); len(list) != 1 {
			t.Errorf("it left %+v", list)
		}
		s.restores("small", small)
		s.sound()
		if out := s.must("check"); strings.Contains(out, "left behind") {
			t.Errorf("check says\n%s", out)
		}
	}

	// With more room it goes on where it stopped.
	if err := unix.Mount("platter-test", nas, "tmpfs", unix.MS_REMOUNT, "size=64m"); err != nil {
		t.Fatal(err)
	}
	s.must("backup", large, "--name", "large")
	if list := s.snapshots(); len(list) != 2 || list[1].Stats.Stored > 13<<20 {
		t.Errorf("of 16 MiB, some of which were there, it kept %+v", list)
	}
	s.restores("large", large)
	s.sound()
}

// TestFullTarget checks that a restore that finds no room leaves nothing.
func TestFullTarget(t *testing.T) {
	to := mountSmall(t, "2m")
	s := newSite(t)
	s.must("backup", s.disk("disk", 5<<20, 1, "random"), "--name", "disk")
	// That is known before anything is written.
	for _, args := range [][]string{{"restore", "disk", "disk"}, {"export", "disk", "disk.qcow2"}, {"export", "disk", "disk.vhdx"}} {
		args[2] = filepath.Join(to, args[2])
		s.start(nil, args...).ends(1, "no space left for it: it takes 5242880 bytes, and its file system has 2097152; nothing was written")
	}
	plan := s.start(nil, "restore", "disk", filepath.Join(to, "disk"), "--plan", "--json")
	plan.ends(1, "no space left for it")
	if out := plan.stdout.String(); !strings.Contains(out, `"needs": 5242880`) || !strings.Contains(out, `"certain": true`) {
		t.Errorf("the plan is %s", out)
	}
	plan = s.start(nil, "restore", "disk", filepath.Join(to, "disk"), "--plan")
	plan.ends(1, "no space left for it")
	if out := plan.stdout.String(); !strings.Contains(out, "room      5.0 MiB needed, and the file system has 2.0 MiB left\n") {
		t.Errorf("the plan is %s", out)
	}
	if left, err := os.ReadDir(to); err != nil || len(left) != 0 {
		t.Errorf("it left %v, %v", left, err)
	}
	dest, err := os.Create(filepath.Join(to, "streamed"))
	if err != nil {
		t.Fatal(err)
	}
	p := s.command("restore", "disk", "-")
	p.Stdout = dest
	if err := errors.Join(p.Start(), dest.Close()); err != nil {
		t.Fatal(err)
	}
	p.ends(1, "no space left")
}
