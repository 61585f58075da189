//go:build unix

package nbd

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"platter/snapshot/image/oracle"
)

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

		oracle.Run(t, "nbdcopy", uri(path, ""), raw)
		same(t, "nbdcopy", raw, data)
		oracle.Run(t, "nbdcopy", "--no-extents", "--connections=1", "--request-size=33554432", uri(path, ""), raw)
		same(t, "nbdcopy in one piece", raw, data)
		if size > 0 && size%512 == 0 { // QEMU rounds other sizes up
			oracle.Run(t, "qemu-img", "convert", "-O", "raw", uri(path, ""), raw)
			same(t, "qemu-img convert", raw, data)
			oracle.Run(t, "qemu-img", "compare", "-f", "raw", "-F", "raw", uri(path, ""), raw)
		}
		if size > 0 {
			zero, err := exec.Command("nbdinfo", "--map", "--totals", uri(path, "")).CombinedOutput()
			if err != nil {
				t.Errorf("nbdinfo: %v\n%s", err, zero)
			}
		}
		info := oracle.Run(t, "nbdinfo", "--list", uri(path, ""))
		if !strings.Contains(info, "a disk") || !strings.Contains(info, `export="w"`) {
			t.Errorf("nbdinfo --list:\n%s", info)
		}

		changed := patchy(rng, size)
		if err := os.WriteFile(raw, changed, 0o600); err != nil {
			t.Fatal(err)
		}
		oracle.Run(t, "nbdcopy", "--flush", raw, uri(path, "w"))
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

// TestMaps compares what nbdinfo and qemu-img say about holes with the disk.
func TestMaps(t *testing.T) {
	data := patchy(rand.New(rand.NewPCG(4, 4)), 4<<20)
	path := serve(t, shelf{"": {Disk: newRAM(data)}}, Options{})
	var holes int64
	check := func(who string, off, n int64, zero bool, at int64) int64 {
		if off != at || n <= 0 || off+n > int64(len(data)) || zero && len(bytes.Trim(data[off:off+n], "\x00")) > 0 {
			t.Errorf("%s: %d bytes at %d, zero: %t, after %d", who, n, off, zero, at)
		}
		if zero {
			holes += n
		}
		return off + n
	}
	var info []struct{ Offset, Length, Type int64 }
	decode(t, oracle.Run(t, "nbdinfo", "--map", "--json", uri(path, "")), &info)
	at := int64(0)
	for _, e := range info {
		at = check("nbdinfo", e.Offset, e.Length, e.Type == 3, at)
	}
	if certain := zeroBlocks(data, 0, int64(len(data))); at != int64(len(data)) || holes < certain {
		t.Errorf("nbdinfo: the map ends at %d, and has %d bytes of holes, want %d or more", at, holes, certain)
	}
	var mapped []struct {
		Start, Length int64
		Zero          bool
	}
	decode(t, oracle.Run(t, "qemu-img", "map", "--output=json", "-f", "raw", uri(path, "")), &mapped)
	at = 0
	for _, e := range mapped {
		at = check("qemu-img", e.Start, e.Length, e.Zero, at)
	}
	if at != int64(len(data)) {
		t.Errorf("qemu-img: the map ends at %d", at)
	}
}

func decode(t *testing.T, text string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
}

// TestQEMUWrites has qemu-io and qemu-img write, zero, discard and flush, and fio write at random and verify.
func TestQEMUWrites(t *testing.T) {
	disk := newRAM(bytes.Repeat([]byte{1}, 4<<20))
	path := serve(t, shelf{"w": {Disk: disk, Writable: disk}}, Options{})
	oracle.Run(t, "qemu-io", "-f", "raw", "-t", "writeback", "-c", "write -P 0xab 5 70000", "-c", "write -z -u 128k 64k",
		"-c", "write -z 256k 100k", "-c", "discard 512k 128k", "-c", "write -f -P 0xcd 1M 2M", "-c", "flush",
		"-c", "read -P 0xab 5 70000", "-c", "read -P 0 128k 64k", uri(path, "w"))
	want := bytes.Repeat([]byte{1}, 4<<20)
	copy(want[5:], bytes.Repeat([]byte{0xab}, 70000))
	clear(want[128<<10 : 192<<10])
	clear(want[256<<10 : 356<<10])
	clear(want[512<<10 : 640<<10])
	copy(want[1<<20:], bytes.Repeat([]byte{0xcd}, 2<<20))
	if now, durable := disk.state(); !bytes.Equal(now, want) || !bytes.Equal(durable, want) {
		t.Error("qemu-io wrote something else, or it is not durable")
	}
	raw := filepath.Join(t.TempDir(), "raw")
	data := patchy(rand.New(rand.NewPCG(5, 5)), 4<<20)
	if err := os.WriteFile(raw, data, 0o600); err != nil {
		t.Fatal(err)
	}
	oracle.Run(t, "qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", raw, uri(path, "w"))
	oracle.Run(t, "qemu-img", "compare", "-f", "raw", "-F", "raw", raw, uri(path, "w"))
	if now, durable := disk.state(); !bytes.Equal(now, data) || !bytes.Equal(durable, data) {
		t.Error("qemu-img wrote something else, or it is not durable")
	}
	oracle.Run(t, "fio", "--name=x", "--ioengine=nbd", "--rw=randrw", "--bsrange=512-64k", "--iodepth=16", "--size=4m",
		"--verify=crc32c", "--verify_fatal=1", "--verify_state_save=0", "--uri="+uri(path, "w"))
}
