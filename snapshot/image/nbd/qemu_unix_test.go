//go:build unix

package nbd

import (
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"testing"

	"platter/snapshot/image/oracle"
)

// TestQEMU reads a qcow2 image that QEMU serves, as it serves the disks of running machines.
func TestQEMU(t *testing.T) {
	data := sparse(rand.New(rand.NewPCG(2, 2)), 5<<20+512)
	qcow := filepath.Join(t.TempDir(), "disk.qcow2")
	out, err := exec.Command(oracle.Path(t, "qemu-img"), "convert", "-f", "raw", "-O", "qcow2", imageFile(t, data), qcow).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, args := range [][]string{{"--shared=4"}, {"--shared=1"}, {"--shared=4", "--read-only"}} {
		socket, end := server(t, "qemu-nbd", append(args, "--format=qcow2", "--export-name=vda", "--description=a machine's disk", qcow)...)
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
