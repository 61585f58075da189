package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"platter/snapshot/image/oracle"
)

// An imageUser is a QEMU that has an image open and writes to it on request.
type imageUser struct {
	*exec.Cmd
	t     *testing.T
	stdin io.WriteCloser
	said  *bufio.Reader
}

// boot opens an image with qemu-io, which locks it as a virtual machine does.
func boot(t *testing.T, path string, args ...string) *imageUser {
	t.Helper()
	m := &imageUser{Cmd: exec.Command(oracle.Path(t, "qemu-io"), append(args, path)...), t: t}
	var err error
	if m.stdin, err = m.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := m.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	m.said = bufio.NewReader(out)
	if err := m.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.stop)
	m.does("read 0 512", "read 512/512 bytes")
	return m
}

// does has it obey a command, and waits for what it says.
func (m *imageUser) does(command, want string) {
	m.t.Helper()
	if _, err := fmt.Fprintln(m.stdin, command); err != nil {
		m.t.Fatal(err)
	}
	for {
		line, err := m.said.ReadString('\n')
		if err != nil {
			m.t.Fatalf("%s: %v", command, err)
		}
		if strings.Contains(line, want) {
			return
		}
	}
}

func (m *imageUser) stop() {
	if m.ProcessState == nil {
		_ = m.stdin.Close()
		_, _ = io.Copy(io.Discard, m.said)
		_ = m.Wait()
	}
}

// TestImageInUse backs up images that a machine has open: what it writes to is refused, whichever of an image's files that
// is, and what it only reads is not.
func TestImageInUse(t *testing.T) {
	s := newSite(t)
	base, top, raw := s.path("base.qcow2"), s.path("top.qcow2"), s.disk("raw", 4<<20, 1, "random")
	oracle.Run(t, "qemu-img", "create", "-q", "-f", "qcow2", base, "16M")
	oracle.Run(t, "qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "qcow2", top)
	for _, c := range []struct {
		name   string
		open   []string // qemu-io's arguments, the image last
		backup []string
		used   bool
	}{
		{"qcow2", []string{"-f", "qcow2", base}, []string{base}, true},
		{"read only", []string{"-r", "-f", "qcow2", base}, []string{base}, false},
		{"by a format", []string{"-f", "qcow2", base}, []string{base, "--format", "qcow2"}, true},
		{"backing file", []string{"-f", "qcow2", base}, []string{top, "--follow-backing"}, true},
		{"overlay", []string{"-f", "qcow2", top}, []string{top, "--follow-backing"}, true},
		{"below an overlay", []string{"-f", "qcow2", top}, []string{base}, false},
		{"raw", []string{"-f", "raw", raw}, []string{raw}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := boot(t, c.open[len(c.open)-1], c.open[:len(c.open)-1]...)
			args := append([]string{"backup", "--name", strings.ReplaceAll(c.name, " ", "-"), "--json"}, c.backup...)
			p := s.start(nil, args...)
			if !c.used {
				p.ends(0, "")
				return
			}
			m.does("write -P 7 1M 64k", "wrote 65536/65536")
			p.ends(1, fmt.Sprintf("is locked by qemu-io (process %d)", m.Process.Pid))
			for _, words := range []string{"virsh", "NBD", "--before", "--force-in-use"} {
				if !strings.Contains(p.stderr.String(), words) {
					t.Errorf("it says %q, and nothing of %s", p.stderr.String(), words)
				}
			}
			before := len(s.snapshots())
			p = s.start(nil, append(args, "--force-in-use")...)
			p.ends(0, "is read although it is in use: ")
			if !strings.Contains(p.stdout.String(), `"modified": true`) {
				t.Errorf("it is not marked: %s", p.stdout.String())
			}
			m.stop()
			s.start(nil, args...).ends(0, "")
			if n := len(s.snapshots()); n != before+2 {
				t.Errorf("%d versions are kept, and there were %d", n, before)
			}
		})
	}
	t.Run("redirected", func(t *testing.T) {
		m := boot(t, raw, "-f", "raw")
		stdin := func() *os.File {
			f, err := os.Open(raw)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { f.Close() })
			return f
		}
		s.start(stdin(), "backup", "-").ends(1, fmt.Sprintf("qemu-io (process %d)", m.Process.Pid))
		s.start(stdin(), "backup", "-", "--force-in-use").ends(0, "is read although it is in use")
	})
}

// TestWriterInUse backs up files that a program has open for writing, which locks nothing: an image is refused, as
// VirtualBox's would be, and a raw disk is warned about.
func TestWriterInUse(t *testing.T) {
	s := newSite(t)
	vdi, raw := s.path("a.vdi"), s.disk("raw", 1<<20, 1, "random")
	oracle.Run(t, "qemu-img", "create", "-q", "-f", "vdi", vdi, "16M")
	for _, path := range []string{vdi, raw} {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		cat := exec.Command("cat")
		cat.ExtraFiles = []*os.File{f}
		stdin, err := cat.StdinPipe()
		if err == nil {
			err = cat.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
		want := fmt.Sprintf("%s is open for writing in cat (process %d)", path, cat.Process.Pid)
		if path == vdi {
			s.start(nil, "backup", path).ends(1, want)
		} else {
			s.start(nil, "backup", path).ends(0, want)
		}
		stdin.Close()
		_ = cat.Wait()
		p := s.start(nil, "backup", path)
		p.ends(0, "")
		if strings.Contains(p.stderr.String(), "open for writing") {
			t.Errorf("no program has it open, and it says %s", p.stderr.String())
		}
	}
}

// TestTargetInUse restores and exports onto files and devices that are in use: each is refused, and nothing is written.
func TestTargetInUse(t *testing.T) {
	s := newSite(t)
	s.must("backup", s.disk("disk", 4<<20, 1, "random"), "--name", "disk")
	refused := func(t *testing.T, path, words string, overruled bool) {
		t.Helper()
		old, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, args := range [][]string{
			{"restore", "disk", path, "--in-place"},
			{"restore", "disk", path, "--in-place", "--plan"},
			{"restore", "disk", path, "--force"},
			{"restore", "disk", path, "--force", "--plan"},
			{"export", "disk", path, "--force", "--format", "qcow2"},
		} {
			s.start(nil, args...).ends(1, "it is in use: ")
			p := s.start(nil, args...)
			p.ends(1, words)
			if overruled != strings.Contains(p.stderr.String(), "--force-in-use") {
				t.Errorf("%v says %s", args, p.stderr.String())
			}
			if !overruled {
				s.start(nil, append(args, "--force-in-use")...).ends(1, words)
			}
		}
		if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, old) {
			t.Errorf("it was written to: %v", err)
		}
	}
	t.Run("QEMU", func(t *testing.T) {
		for _, args := range [][]string{{"-f", "raw"}, {"-r", "-f", "raw"}} { // to write under a reader does harm, too
			path := s.disk("vm", 4<<20, 2, "text")
			m := boot(t, path, args...)
			refused(t, path, fmt.Sprintf("%s is locked by qemu-io (process %d)", path, m.Process.Pid), true)
			s.start(nil, "restore", "disk", path, "--in-place", "--force-in-use").ends(0, "")
			m.stop()
			s.start(nil, "restore", "disk", path, "--in-place").ends(0, "")
		}
	})
	t.Run("loop", func(t *testing.T) {
		node := s.loopDevice("medium", 4<<20)
		link := s.path("hard")
		if err := os.Link(s.path("medium"), link); err != nil {
			t.Fatal(err)
		}
		refused(t, link, link+" is held by "+filepath.Base(node), false)
		s.start(nil, "backup", link).ends(0, "warning: "+link+" is held by "+filepath.Base(node)+": writes during the backup")
		oracle.Run(t, "mke2fs", "-q", "-t", "ext4", node)
		mount := t.TempDir()
		oracle.Run(t, "mount", node, mount)
		defer oracle.Run(t, "umount", mount)
		p := s.start(nil, "restore", "disk", link, "--in-place")
		p.ends(1, fmt.Sprintf("end that first (umount %s; losetup --detach %s)", mount, node))
	})
	t.Run("device", func(t *testing.T) {
		node := s.loopDevice("disk2", 4<<20)
		m := boot(t, node, "-f", "raw")
		words := fmt.Sprintf("qemu-io (process %d)", m.Process.Pid)
		s.start(nil, "restore", "disk", node, "--yes").ends(1, words)
		s.start(nil, "restore", "disk", node, "--plan").ends(1, words)
		if !bytes.Equal(onDevice(t, node), bytes.Repeat([]byte{0xff}, 4<<20)) {
			t.Error("it was written to")
		}
		s.start(nil, "restore", "disk", node, "--yes", "--force-in-use").ends(0, "")
		m.stop()
		s.start(nil, "restore", "disk", node, "--yes").ends(0, "")
	})
	t.Run("flock", func(t *testing.T) {
		path := s.disk("locked", 4<<20, 2, "text")
		p := s.command("restore", "disk", path, "--in-place")
		p.Path, p.Args = oracle.Path(t, "flock"), append([]string{"flock", path, p.Path}, p.Args[1:]...)
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		p.ends(0, "") // a lock that it was started under is its own
	})
}

// TestOwnFiles checks that no file of a repository is restored over by another name, whatever it is for.
func TestOwnFiles(t *testing.T) {
	s := newSite(t)
	for i := range 3 {
		s.must("backup", s.disk("disk", 2<<20, uint64(i), "random"), "--name", "disk")
	}
	s.must("parity", "add", "--share", "5%")
	s.must("forget", "disk~2")
	kinds := map[string]bool{}
	err := filepath.WalkDir(s.repo, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		kind, _, _ := strings.Cut(strings.TrimPrefix(path, s.repo+"/"), "/")
		kinds[kind+filepath.Ext(path)] = true
		link := s.path("link")
		if err := os.Link(path, link); err != nil {
			return err
		}
		s.start(nil, "restore", "disk", link, "--in-place").ends(1, "it is a file of a platter repository")
		return os.Remove(link)
	})
	if err != nil || len(kinds) < 7 {
		t.Errorf("tried %v, %v", kinds, err)
	}
	s.sound()
}
