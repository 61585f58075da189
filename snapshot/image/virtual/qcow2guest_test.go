package virtual

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"platter/snapshot/image"
)

// guestWrites makes qemu-io commands: writes of a guest to a disk of size bytes.
func guestWrites(rng *rand.Rand, size, n int) (commands []string) {
	for range n {
		off := rng.IntN(size/512) * 512
		length := min((rng.IntN([]int{4, 64, 1024}[rng.IntN(3)])+1)*512, size-off)
		c := fmt.Sprintf("write -P %d %d %d", rng.IntN(255)+1, off, length)
		switch rng.IntN(6) {
		case 0:
			c = fmt.Sprintf("write -z %d %d", off, length)
		case 1:
			c = fmt.Sprintf("write -z -u %d %d", off, length)
		case 2:
			c = fmt.Sprintf("discard %d %d", off, length)
		}
		commands = append(commands, c)
	}
	return commands
}

// readBack converts an image to raw with qemu-img, and returns the content.
func readBack(t testing.TB, path string, args ...string) []byte {
	t.Helper()
	raw := filepath.Join(t.TempDir(), "back.raw")
	qemuImg(t, "", append(append([]string{"convert", "-f", "qcow2", "-O", "raw"}, args...), path, raw)...)
	data, err := os.ReadFile(raw)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestQcow2Guest compares with qemu-img's reads on images that a guest wrote to: chains of three over a raw file, all
// of different lengths, and internal snapshots in them.
func TestQcow2Guest(t *testing.T) {
	sizes := []int{2<<20 + 512, 5 << 20, 3<<20 + 1024, 4 << 20}
	for seed, options := range []string{
		"cluster_size=512", "cluster_size=4096", "cluster_size=65536", "cluster_size=2097152", "compat=0.10", "compat=0.10,cluster_size=512",
		"extended_l2=on", "extended_l2=on,cluster_size=16384", "extended_l2=on,cluster_size=2097152", "lazy_refcounts=on",
	} {
		if testing.Short() && seed%4 > 0 {
			continue
		}
		t.Run(options, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(uint64(seed), 4))
			dir := t.TempDir()
			raw := writeRaw(t, dir, randomDisk(rng, sizes[0]))
			below, format := filepath.Base(raw), "raw"
			for i, size := range sizes[1:] {
				name := fmt.Sprintf("%d.qcow2", i)
				qemuImg(t, dir, "create", "-f", "qcow2", "-b", below, "-F", format, "-o", options, name, fmt.Sprint(size))
				path := filepath.Join(dir, name)
				qemuIO(t, path, "qcow2", guestWrites(rng, size, 30)...)
				d := mustOpen(t, path, "qcow2", Options{FollowBacking: true})
				compare(t, d, readBack(t, path))
				if len(d.files) != i+2 || len(d.Notes) > 0 {
					t.Errorf("%d files, notes %q; want %d files and no notes", len(d.files), d.Notes, i+2)
				}
				below, format = name, "qcow2"
			}
			compareSnapshots(t, rng, filepath.Join(dir, below), sizes[3])
		})
	}
}

// compareSnapshots takes snapshots in an image while the guest writes and the disk grows.
func compareSnapshots(t *testing.T, rng *rand.Rand, path string, size int) {
	for _, name := range []string{"one", "two", "3"} {
		qemuImg(t, "", "snapshot", "-c", name, path)
		qemuIO(t, path, "qcow2", guestWrites(rng, size, 10)...)
		size += 1 << 20
		if data, err := os.ReadFile(path); err != nil || data[7] == 2 {
			size -= 1 << 20 // version 2 cannot grow if it has snapshots
			continue
		}
		qemuImg(t, "", "resize", path, fmt.Sprint(size))
	}
	for i, name := range []string{"one", "two"} {
		want := readBack(t, applied(t, path, name))
		for _, s := range []string{name, fmt.Sprint(i + 1)} {
			compare(t, mustOpen(t, path, "qcow2", Options{FollowBacking: true, Snapshot: s}), want)
		}
	}
	compare(t, mustOpen(t, path, "qcow2", Options{FollowBacking: true}), readBack(t, path))
	for s, want := range map[string]string{"four": `"one" (number "1"), "two" (number "2"), "3" (number "3")`} {
		if err := openErr(t, path, Options{FollowBacking: true, Snapshot: s}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("snapshot %q: %v, want %s", s, err, want)
		}
	}
}

// applied copies an image, reverts the copy to a snapshot, and returns its path. qemu-img convert -l is no
// substitute: it uses the disk's current size.
func applied(t *testing.T, path, name string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(filepath.Dir(path), "applied.qcow2")
	if err := os.WriteFile(copied, data, 0o600); err != nil {
		t.Fatal(err)
	}
	qemuImg(t, "", "snapshot", "-a", name, copied)
	return copied
}

// openErr opens a qcow2 and returns the error.
func openErr(t testing.TB, path string, o Options) error {
	t.Helper()
	f, err := image.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	d, err := Open(f, "qcow2", o)
	if err == nil {
		_ = d.Close()
	}
	return err
}
