//go:build unix

package nbd

import (
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// qemuNBD serves with qemu-nbd, and returns the socket. It inherits the socket, which thus listens before it starts.
func qemuNBD(t *testing.T, args ...string) (socket string, end func()) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	l.SetUnlinkOnClose(false)
	f, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd := exec.Command("sh", append([]string{"-c", `LISTEN_PID=$$ LISTEN_FDS=1 exec qemu-nbd "$@"`, "sh"}, args...)...)
	cmd.ExtraFiles, cmd.Stderr = []*os.File{f}, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return socket, func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
}

// TestQEMU reads a qcow2 image that QEMU serves, as it serves the disks of running machines.
func TestQEMU(t *testing.T) {
	for _, name := range []string{"qemu-img", "qemu-nbd"} {
		if _, err := exec.LookPath(name); err != nil {
			if os.Getenv("CI") != "" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
	}
	data := sparse(rand.New(rand.NewPCG(2, 2)), 5<<20+512)
	qcow := filepath.Join(t.TempDir(), "disk.qcow2")
	out, err := exec.Command("qemu-img", "convert", "-f", "raw", "-O", "qcow2", imageFile(t, data), qcow).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, args := range [][]string{{"--shared=4"}, {"--shared=1"}, {"--shared=4", "--read-only"}} {
		socket, end := qemuNBD(t, append(args, "--format=qcow2", "--export-name=vda", "--description=a machine's disk", qcow)...)
		defer end()
		d := open(t, "nbd+unix:///vda?socket="+socket, Options{})
		if d.Description() != "a machine's disk" || d.ReadOnly() != (len(args) > 1) || !d.allocation {
			t.Errorf("%q: %q, read-only: %t, holes are known: %t", args, d.Description(), d.ReadOnly(), d.allocation)
		}
		verify(t, d, data, 3)
		zeros := int64(0)
		for e, err := range d.Extents() {
			if err != nil {
				t.Fatal(err)
			}
			if e.Zero {
				zeros += e.Len
			}
		}
		if zeros < 1<<20 {
			t.Errorf("%q: %d bytes of zeros", args, zeros)
		}
		d.Close()
		end()
	}
}
