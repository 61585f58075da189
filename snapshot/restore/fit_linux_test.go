package restore

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"platter/chunk"
	"platter/repo"
	"platter/repo/store"
	"platter/snapshot"
	"platter/snapshot/backup/backuptest"
	"platter/snapshot/image"
	"platter/snapshot/image/oracle"
	"platter/snapshot/snapshottest"
)

// gptDisk returns a disk with a GUID partition table from sgdisk, in this sector size in bytes. Its second and last
// partition holds ext4 and ends 3 MiB before the disk does.
func gptDisk(t *testing.T, size, sector int) []byte {
	t.Helper()
	node := loopDevice(t, make([]byte, size), sector)
	mib := 1 << 20 / sector
	oracle.Run(t, "sgdisk", fmt.Sprintf("-n1:%d:+1M", mib), fmt.Sprintf("-n2:%d:%d", 3*mib, size/sector-3*mib-1), node)
	disk := onDevice(t, node)
	fs := filepath.Join(t.TempDir(), "fs")
	if err := os.WriteFile(fs, make([]byte, size-6<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	oracle.Run(t, "mkfs.ext4", "-q", fs)
	data, err := os.ReadFile(fs)
	if err != nil {
		t.Fatal(err)
	}
	copy(disk[3<<20:], data)
	return disk
}

// inRepo backs a disk up into a new repository.
func inRepo(t *testing.T, disk []byte) (*repo.Repo, *snapshot.Snapshot) {
	t.Helper()
	s := new(store.Mem)
	snap := backuptest.Keep(t, snapshottest.Repo(t, s), image.Mem{Data: disk, Holes: true})
	return snapshottest.Reopen(t, s), snap
}

// refusal returns why a disk does not fit onto a device; "" if it does.
func refusal(t *testing.T, r *repo.Repo, snap *snapshot.Snapshot, part snapshot.Part, node string, o FitOptions) string {
	t.Helper()
	d, err := OpenDevice(node, DeviceOptions{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if _, err = FitOnto(t.Context(), r, snap, part, d, o); err != nil {
		return err.Error()
	}
	return ""
}

// TestFit restores disks to larger and smaller devices. sgdisk finds no errors, and neither does e2fsck on the last
// partition.
func TestFit(t *testing.T) {
	const size = 24 << 20
	for _, sector := range []int{512, 4096} {
		if testing.Short() && sector == 512 {
			continue
		}
		t.Run(fmt.Sprint(sector), func(t *testing.T) {
			disk := gptDisk(t, size, sector)
			r, snap := inRepo(t, disk)
			whole := snap.Whole()
			least := size - 3<<20 + (16384/sector+1)*sector

			for name, to := range map[string]int{"larger": size + 5<<20, "a little larger": size + 8*sector, "smaller": size - 2<<20, "smallest": least} {
				t.Run(name, func(t *testing.T) {
					node := loopDevice(t, bytes.Repeat([]byte{0xff}, to), sector)
					_, fit := toDevice(t, r, snap, whole, node, Options{Verify: true}, FitOptions{GrowGPT: true, ShrinkGPT: true})
					if out := oracle.Run(t, "sgdisk", "-v", node); !strings.Contains(out, "No problems found") {
						t.Errorf("sgdisk says\n%s", out)
					}
					got := onDevice(t, node)
					if !bytes.Equal(got[3<<20:size-3<<20], disk[3<<20:size-3<<20]) {
						t.Error("the partition is another")
					}
					if advice := strings.Join(fit.Advice, "; "); strings.Contains(advice, "resizepart 2 100%") != (to > size) || strings.Contains(advice, "resize2fs "+node+"p2") != (to > size) {
						t.Errorf("it advises %q", advice)
					}
					done, _ := toDevice(t, r, snap, whole, node, Options{Verify: true}, FitOptions{GrowGPT: true, ShrinkGPT: true})
					if done.Written.Load() > 8*4096+64<<10 {
						t.Errorf("only the table differed, and it wrote %d bytes", done.Written.Load())
					}
				})
			}

			wiped := loopDevice(t, bytes.Repeat([]byte{0xff}, size+4<<20), sector)
			toDevice(t, r, snap, whole, wiped, Options{Verify: true, WipeRest: true}, FitOptions{GrowGPT: true})
			if out := oracle.Run(t, "sgdisk", "-v", wiped); !strings.Contains(out, "No problems found") {
				t.Errorf("wiped: sgdisk says\n%s", out)
			}
			if got := onDevice(t, wiped); !chunk.IsZero(got[size : size+3<<20]) {
				t.Error("between the disk and its second table there is something")
			}

			smaller := loopDevice(t, make([]byte, size-2<<20), sector)
			if why := refusal(t, r, snap, whole, smaller, FitOptions{}); !strings.Contains(why, "--shrink-gpt would leave that out") {
				t.Errorf("smaller: it says %q", why)
			}
			tiny := loopDevice(t, make([]byte, least-sector), sector)
			if why := refusal(t, r, snap, whole, tiny, FitOptions{ShrinkGPT: true}); !strings.Contains(why, fmt.Sprintf("the smallest that would do has %d", least)) {
				t.Errorf("too small: it says %q", why)
			}
			larger := loopDevice(t, make([]byte, size+1<<20), sector)
			_, fit := toDevice(t, r, snap, whole, larger, Options{}, FitOptions{})
			if advice := strings.Join(fit.Advice, "; "); !strings.Contains(advice, "--grow-gpt puts it there") || fit.Left != 1<<20 {
				t.Errorf("without a flag it advises %q", advice)
			}
			oracle.Run(t, "sgdisk", "-e", larger) // follows the advice
			otherSectors := loopDevice(t, make([]byte, size+1<<20), 512+4096-sector)
			if why := refusal(t, r, snap, whole, otherSectors, FitOptions{GrowGPT: true}); !strings.Contains(why, "counts in sectors of") {
				t.Errorf("other sectors: it says %q", why)
			}
			part := snapshot.Part{Off: 3 << 20, Len: size - 6<<20, Name: "p2"}
			node := loopDevice(t, make([]byte, size), sector)
			_, fit = toDevice(t, r, snap, part, node, Options{}, FitOptions{})
			if advice := strings.Join(fit.Advice, "; "); !strings.Contains(advice, "'resize2fs "+node+"'") {
				t.Errorf("a partition: it advises %q", advice)
			}
			oracle.Run(t, "e2fsck", "-fn", node)
			oracle.Run(t, "resize2fs", node)
			if why := refusal(t, r, snap, part, loopDevice(t, make([]byte, part.Len-4096), sector), FitOptions{ShrinkGPT: true}); !strings.Contains(why, "too small") {
				t.Errorf("a partition, too small: it says %q", why)
			}
		})
	}
}

// TestFitWithoutGPT restores disks with an MBR, a damaged table and no table to devices of another size.
func TestFitWithoutGPT(t *testing.T) {
	const size = 8 << 20
	mbr := make([]byte, size)
	copy(mbr[446:], []byte{0x80, 0, 0, 0, 0x83, 0, 0, 0, 0, 8, 0, 0, 0, 8, 0, 0}) // 1 MiB at 1 MiB
	mbr[510], mbr[511] = 0x55, 0xaa
	damaged := gptDisk(t, 16<<20, 512)[:size]
	damaged[520] ^= 1
	bare := bytes.Repeat([]byte("data"), size/4)
	for name, c := range map[string]struct {
		disk    []byte
		size    int
		o       FitOptions
		refusal string
		advice  string
	}{
		"MBR, smaller":              {mbr, 2 << 20, FitOptions{ShrinkGPT: true}, "", ""},
		"MBR, smaller, not allowed": {mbr, 2 << 20, FitOptions{}, "--shrink-gpt would leave that out", ""},
		"MBR, too small":            {mbr, 2<<20 - 512, FitOptions{ShrinkGPT: true}, "the smallest that would do has 2097152", ""},
		"MBR, larger":               {mbr, 9 << 20, FitOptions{}, "", "(MBR) needs no change"},
		"damaged, smaller":          {damaged, 7 << 20, FitOptions{ShrinkGPT: true}, "damaged", ""},
		"damaged, larger":           {damaged, 9 << 20, FitOptions{}, "", "damaged"},
		"damaged, to be moved":      {damaged, 9 << 20, FitOptions{GrowGPT: true}, "damaged", ""},
		"no table, smaller":         {bare, size - 512, FitOptions{ShrinkGPT: true}, fmt.Sprintf("the smallest that would do has %d", size), ""},
		"no table, larger":          {bare, 9 << 20, FitOptions{GrowGPT: true}, "", "none to move"},
		"no table, as large":        {bare, size, FitOptions{}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			r, snap := inRepo(t, c.disk)
			old := bytes.Repeat([]byte{0xff}, c.size)
			node := loopDevice(t, old, 512)
			if why := refusal(t, r, snap, snap.Whole(), node, c.o); c.refusal != "" || why != "" {
				if c.refusal == "" || !strings.Contains(why, c.refusal) {
					t.Errorf("it says %q", why)
				}
				return
			}
			_, fit := toDevice(t, r, snap, snap.Whole(), node, Options{Verify: true}, c.o)
			if advice := strings.Join(fit.Advice, "; "); (advice != "") != (c.advice != "") || !strings.Contains(advice, c.advice) {
				t.Errorf("it advises %q", advice)
			}
			copy(old, c.disk)
			if !bytes.Equal(onDevice(t, node), old) {
				t.Error("the device is not the disk")
			}
		})
	}
}

// TestDeviceFails restores onto a device that fails some writes.
func TestDeviceFails(t *testing.T) {
	dir := t.TempDir()
	image, trigger := snapshottest.WriteFile(t, make([]byte, 16<<20)), filepath.Join(dir, "trigger")
	node := failingDevice(t, dir, image, trigger)
	disk := bytes.Repeat([]byte("new data"), 2<<20)
	r, snap := inRepo(t, disk)
	d, err := OpenDevice(node, DeviceOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	fit, err := FitOnto(t.Context(), r, snap, snap.Whole(), d, FitOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(trigger, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = ToDevice(t.Context(), r, snap, fit, d, Options{Verify: true}, nil)
	if err == nil || !strings.Contains(err.Error(), "input/output error") || !strings.Contains(err.Error(), "the device did not") || !strings.Contains(err.Error(), node) {
		t.Errorf("it says %v", err)
	}
	if err := os.Remove(trigger); err != nil {
		t.Fatal(err)
	}
	if _, err := ToDevice(t.Context(), r, snap, fit, d, Options{Verify: true}, nil); err != nil {
		t.Errorf("with a device that is well again: %v", err)
	}
	if !bytes.Equal(onDevice(t, node), disk) {
		t.Error("the device is not the disk")
	}
}
