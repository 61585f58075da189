package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"

	"platter/snapshot/image/oracle"
)

// loopDevice returns the node of a device of size bytes that holds nothing but ones.
func (s *site) loopDevice(name string, size int64) string {
	s.t.Helper()
	if err := os.WriteFile(s.path(name), bytes.Repeat([]byte{0xff}, int(size)), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return oracle.Loop(s.t, s.path(name))
}

// onDevice reads all of a device.
func onDevice(t *testing.T, node string) []byte {
	t.Helper()
	data, err := os.ReadFile(node)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestDeviceKilled kills restores onto a device. The next one goes on, and does not write again what is there.
func TestDeviceKilled(t *testing.T) {
	s := newSite(t)
	size := shorter(256<<20, 64<<20)
	disk := s.disk("disk", size, 1, "random")
	s.must("backup", disk, "--name", "disk")
	node := s.loopDevice("medium", size)
	kills := 0
	for kills < 3 {
		p := s.start(nil, "restore", "disk", node, "--yes")
		begun := written(t, node)
		waitFor(t, "writes", func() bool { return written(t, node) > begun+size/8 })
		_ = p.Process.Kill()
		if code := p.wait(); code == 0 {
			break // it was faster, or there was nothing left to do
		}
		kills++
	}
	if kills == 0 {
		t.Fatal("it was done before it could be killed")
	}
	var done struct{ Right, Differed int64 }
	s.query(&done, "restore", "disk", node, "--yes")
	if done.Right < size/16 || done.Right+done.Differed != size {
		t.Errorf("after %d kills %+v", kills, done)
	}
	want, err := os.ReadFile(disk)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(onDevice(t, node), want) {
		t.Error("the device is not the disk")
	}
	t.Logf("%d kills; then %d bytes of %d were right", kills, done.Right, size)
}

// written returns how many bytes the system wrote to a device since it was set up.
func written(t *testing.T, node string) int64 {
	t.Helper()
	stat, err := os.ReadFile(filepath.Join("/sys/class/block", filepath.Base(node), "stat"))
	if err != nil {
		t.Fatal(err)
	}
	var n, sectors int64
	if _, err := fmt.Sscan(string(stat), &n, &n, &n, &n, &n, &n, &sectors); err != nil {
		t.Fatal(err)
	}
	return 512 * sectors
}

// TestDeviceLinkRetargeted switches a link between two devices as fast as it can, while a restore names one of them by its
// serial number. Nothing is ever written to the other.
func TestDeviceLinkRetargeted(t *testing.T) {
	s := newSite(t)
	const size = 2 << 20
	disk := s.disk("disk", size, 1, "random")
	s.must("backup", disk, "--name", "disk")
	meant, other := s.loopDevice("meant", size), s.loopDevice("other", size)
	machine := s.path("machine")
	for node, serial := range map[string]string{meant: "MEANT", other: "OTHER"} {
		makeUp(t, machine, node, serial)
	}
	link := s.path("link")
	stop, stopped := make(chan struct{}), make(chan struct{})
	if err := os.Symlink(meant, link); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(stopped)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			next := link + ".next"
			_ = os.Symlink([]string{meant, other}[i%2], next)
			_ = os.Rename(next, link)
		}
	}()
	s.program = "on-made-up"
	codes := map[int]int{}
	for range shorter(24, 12) {
		p := s.command("restore", "disk", link, "--serial", "MEANT")
		p.Env = append(p.Env, "MADE_UP="+machine)
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		code := p.wait()
		if code != 0 && (code != 1 || !strings.Contains(p.stderr.String(), `its serial number is "OTHER", not "MEANT"`)) {
			t.Errorf("it ended with %d: %s", code, p.stderr.String())
		}
		codes[code]++
	}
	close(stop)
	<-stopped
	if !bytes.Equal(onDevice(t, other), bytes.Repeat([]byte{0xff}, size)) {
		t.Fatal("the other device was written to")
	}
	want, err := os.ReadFile(disk)
	if err != nil {
		t.Fatal(err)
	}
	if codes[0] > 0 && !bytes.Equal(onDevice(t, meant), want) {
		t.Error("the device that was meant is not the disk")
	}
	if codes[0] == 0 || codes[1] == 0 {
		t.Logf("all restores found the same device: %v", codes)
	}
}

// makeUp adds a device with a serial number to a made-up machine.
func makeUp(t *testing.T, root, node, serial string) {
	t.Helper()
	out, err := exec.Command("stat", "--format", "%Hr:%Lr", node).Output()
	if err != nil {
		t.Fatal(err)
	}
	no := strings.TrimSpace(string(out))
	dir := filepath.Join("sys/devices", filepath.Base(node))
	for path, content := range map[string]string{
		filepath.Join(dir, "dev"): no, filepath.Join(dir, "serial"): serial,
		"proc/self/mountinfo": "1 0 0:1 / /proc rw - proc proc rw", "sys/dev/block/README": "",
	} {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join(root, dir), filepath.Join(root, "sys/dev/block", no)); err != nil {
		t.Fatal(err)
	}
}

// TestDeviceTyped answers the question for the device rightly and wrongly.
func TestDeviceTyped(t *testing.T) {
	s := newSite(t)
	const size = 1 << 20
	s.must("backup", s.disk("disk", size, 1, "random"), "--name", "disk")
	node := s.loopDevice("medium", size)
	makeUp(t, s.path("machine"), node, "SN-1")
	ones := bytes.Repeat([]byte{0xff}, size)
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(-1)) // which commands set
	for _, c := range []struct {
		machine string
		typed   string
		asked   string
		code    int
	}{
		{s.path("machine"), "", "Type its serial number, SN-1, to continue: ", 1},
		{s.path("machine"), "yes", "serial number SN-1", 1},
		{s.path("machine"), "SN-1 ", " (1.0 MiB, an unnamed model, serial number SN-1) will be overwritten with disk of ", 0},
		{"", filepath.Base(node), "without a serial number) will be overwritten with disk of ", 0},
		{"", "SN-1", "Type its name, " + filepath.Base(node) + ", to continue: ", 1},
	} {
		if err := os.WriteFile(node, ones, 0o600); err != nil {
			t.Fatal(err)
		}
		env, _, stderr := testEnv(t)
		env.devices.Root = c.machine
		env.getenv = func(name string) string { return map[string]string{"PLATTER_PASSWORD": "secret"}[name] }
		env.confirm = func(_ context.Context, prompt string) ([]byte, error) {
			if !strings.Contains(prompt, c.asked) || !strings.HasPrefix(prompt, node) {
				t.Errorf("it asks %q, without %q", prompt, c.asked)
			}
			if holds := "will be lost:\n  no partition table and no file system that platter knows\n"; !strings.Contains(prompt, holds) {
				t.Errorf("it asks %q, without %q", prompt, holds)
			}
			return []byte(c.typed), nil
		}
		app := newApp(env)
		err := app.RunContext(t.Context(), arrange(app, []string{"platter", "restore", "disk", node, "--repo", s.repo, "--no-cache"}))
		code := env.report(err, false)
		if code != c.code || (code == 0) == bytes.Equal(onDevice(t, node), ones) {
			t.Errorf("%q typed: it ended with %d, want %d: %s", c.typed, code, c.code, stderr)
		}
	}
}

// TestDeviceInterrupted checks that Ctrl-C ends a restore onto a device, and says how to go on.
func TestDeviceInterrupted(t *testing.T) {
	s := newSite(t)
	size := shorter(128<<20, 64<<20)
	s.must("backup", s.disk("disk", size, 1, "random"), "--name", "disk")
	node := s.loopDevice("medium", size)
	p := s.start(nil, "restore", "disk", node, "--yes")
	begun := written(t, node)
	waitFor(t, "writes", func() bool { return written(t, node) > begun })
	if err := p.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if code := p.wait(); code != 130 && code != 0 {
		t.Errorf("it ended with %d: %s", code, p.stderr.String())
	}
	s.must("restore", "disk", node, "--yes")
}
