package main

import (
	"os"
	"strings"
	"testing"

	"platter/snapshot/image/oracle"
)

// TestInterruptedCalls has each kind of system call that a restore makes fail now and then because of a signal, as network and FUSE
// file systems let them: none of it may be seen.
func TestInterruptedCalls(t *testing.T) {
	t.Parallel()
	strace := oracle.Path(t, "strace")
	s := newSite(t)
	s.disk("disk", 3<<20, 1, "mixed")
	s.disk("other", 3<<20, 2, "mixed")
	s.must("backup", "disk", "--name", "disk")
	s.must("restore", "disk", "back")
	calls := strings.Fields("renameat openat pread64 pwrite64 write fsync fdatasync lseek ftruncate fallocate fadvise64 unlinkat fchmod fchown flock fstatfs close ioctl")
	if testing.Short() {
		calls = strings.Fields("close fdatasync renameat")
	}
	for _, call := range calls {
		for _, line := range []string{
			"restore disk back --force --verify", "restore disk other --in-place --verify", "export disk image.qcow2 --force --verify",
			"show disk --bad-map lost.map", "backup disk --name disk --dry-run",
		} {
			p := s.command(append([]string{"-f", "-qq", "-o", s.path("trace"), "-e", "trace=" + call, "-e", "inject=" + call + ":error=EINTR:when=4+5", s.program},
				strings.Fields(line)...)...)
			p.Path = strace
			if err := p.Start(); err != nil {
				t.Fatal(err)
			}
			if p.ends(0, ""); t.Failed() {
				t.Fatalf("%s, interrupted in %s", line, call)
			}
		}
		for _, back := range []string{"back", "other"} {
			if err := sameFiles(s.path("disk"), s.path(back)); err != nil {
				t.Errorf("after %s was interrupted: %v", call, err)
			}
		}
		if err := os.Remove(s.path("other")); err != nil {
			t.Fatal(err)
		}
		s.disk("other", 3<<20, 2, "mixed")
	}
}
