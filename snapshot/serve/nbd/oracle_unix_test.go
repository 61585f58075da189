//go:build unix

package nbd

import (
	"bytes"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// lacking skips a test that this machine has no means for. With CI set, the test fails instead.
func lacking(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// tool runs a program, and returns its output.
func tool(t testing.TB, name string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		lacking(t, "no %s: %v", name, err)
	}
	out, err := exec.CommandContext(t.Context(), path, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// patchy returns data with holes and runs of noise, of many lengths, aligned to blocks or not.
func patchy(rng *rand.Rand, size int) []byte {
	data := make([]byte, size)
	for off := 0; off < size; {
		n := min(rng.IntN(1<<[]int{9, 14, 18, 21}[rng.IntN(4)])+1, size-off)
		if rng.IntN(2) == 0 {
			n = min((n+4095)/4096*4096, size-off)
		}
		if rng.IntN(2) == 0 {
			for i := range n {
				data[off+i] = byte(rng.Uint32())
			}
		}
		off += n
	}
	return data
}

func uri(path, name string) string { return "nbd+unix:///" + name + "?socket=" + path }

// TestClients lets nbdcopy, nbdinfo, qemu-img and qemu-io read, write and map disks of several sizes.
func TestClients(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, size := range []int{0, 1, 511, 4096, 1<<20 + 513, 6<<20 + 12345} {
		data := patchy(rng, size)
		disk := newRAM(bytes.Clone(data))
		path := serve(t, shelf{"": {Disk: disk, Description: "a disk"}, "w": {Disk: disk, Writable: disk}}, Options{})
		dir := t.TempDir()
		raw := filepath.Join(dir, "raw")

		tool(t, "nbdcopy", uri(path, ""), raw)
		same(t, "nbdcopy", raw, data)
		tool(t, "nbdcopy", "--no-extents", "--connections=1", "--request-size=33554432", uri(path, ""), raw)
		same(t, "nbdcopy in one piece", raw, data)
		if size > 0 && size%512 == 0 { // QEMU rounds other sizes up
			tool(t, "qemu-img", "convert", "-O", "raw", uri(path, ""), raw)
			same(t, "qemu-img convert", raw, data)
			tool(t, "qemu-img", "compare", "-f", "raw", "-F", "raw", uri(path, ""), raw)
		}
		if size > 0 {
			zero, err := exec.Command("nbdinfo", "--map", "--totals", uri(path, "")).CombinedOutput()
			if err != nil {
				t.Errorf("nbdinfo: %v\n%s", err, zero)
			}
		}
		info := tool(t, "nbdinfo", "--list", uri(path, ""))
		if !strings.Contains(info, "a disk") || !strings.Contains(info, `export="w"`) {
			t.Errorf("nbdinfo --list:\n%s", info)
		}

		changed := patchy(rng, size)
		if err := os.WriteFile(raw, changed, 0o600); err != nil {
			t.Fatal(err)
		}
		tool(t, "nbdcopy", "--flush", raw, uri(path, "w"))
		if now, durable := disk.state(); !bytes.Equal(now, changed) || !bytes.Equal(durable, changed) {
			t.Errorf("%d bytes: nbdcopy wrote something else, or it is not durable", size)
		}
	}
}

// same fails the test unless a file has exactly these bytes.
func same(t *testing.T, who, path string, want []byte) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s: %d bytes differ from the disk's %d", who, len(got), len(want))
	}
}
