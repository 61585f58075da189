package restore

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"platter/snapshot"
	"platter/snapshot/image/oracle"
)

// overGPT returns a disk of random bytes with an MBR over a GPT from sgdisk. The MBR's one partition is given in
// sectors. primary and backup say which copies of the GPT remain.
func overGPT(t *testing.T, size, sector int, primary, backup bool, first, n uint32) []byte {
	t.Helper()
	node := loopDevice(t, make([]byte, size), sector)
	oracle.Run(t, "sgdisk", "-n1:0:+1M", "-n2:0:0", node)
	disk := onDevice(t, node)
	rand.NewChaCha8([32]byte{1}).Read(disk[64*sector : size-64*sector])
	if !primary {
		clear(disk[sector : 34*sector])
	}
	if !backup {
		clear(disk[size-34*sector:])
	}
	withMBR(disk, 0x83, first, n)
	return disk
}

// withMBR makes the first entry of a disk's MBR a partition of this kind.
func withMBR(disk []byte, kind byte, first, n uint32) {
	clear(disk[446:510])
	disk[446+4], disk[510], disk[511] = kind, 0x55, 0xaa
	binary.LittleEndian.PutUint32(disk[446+8:], first)
	binary.LittleEndian.PutUint32(disk[446+12:], n)
}

// TestFitUnusedGPT restores disks with an old GPT under an MBR to larger and smaller devices, with every flag. Every
// byte stays the disk's.
func TestFitUnusedGPT(t *testing.T) {
	const size, smaller = 8 << 20, 7 << 20
	for _, sector := range []int{512, 4096} {
		for left, copies := range map[string][2]bool{"both": {true, true}, "primary": {true, false}, "backup": {false, true}} {
			t.Run(fmt.Sprintf("%s, sectors of %d", left, sector), func(t *testing.T) {
				// The partition fills the smaller device to its last byte.
				disk := overGPT(t, size, sector, copies[0], copies[1], uint32(1<<20/sector), uint32((smaller-1<<20)/sector))
				r, snap := inRepo(t, disk)
				snap.Source.Kind, snap.Source.SectorSize = "device", int64(sector)
				for _, to := range []int{smaller, size, size + 1<<20} {
					old := bytes.Repeat([]byte{0xff}, to)
					node := loopDevice(t, old, sector)
					_, fit := toDevice(t, r, snap, snap.Whole(), node, Options{Verify: true}, FitOptions{GrowGPT: true, ShrinkGPT: true})
					advice := strings.Join(append(fit.Advice, fit.Warnings...), "; ")
					if fit.Moves() || strings.Contains(advice, "grow-gpt") || strings.Contains(advice, "sgdisk") || strings.Contains(advice, "resizepart") {
						t.Errorf("to %d bytes: moves %v, advises %q", to, fit.Moves(), advice)
					}
					copy(old, disk)
					if !bytes.Equal(onDevice(t, node), old) {
						t.Errorf("to %d bytes: the device is not the disk", to)
					}
				}
				node := loopDevice(t, make([]byte, smaller-sector), sector)
				if why := refusal(t, r, snap, snap.Whole(), node, FitOptions{ShrinkGPT: true}); !strings.Contains(why, fmt.Sprintf("the smallest that would do has %d", smaller)) {
					t.Errorf("too small: it says %q", why)
				}
			})
		}
	}
}

// TestFitOtherSectors fits disks to devices with another sector size. Fit warns before anything is written, and still
// counts in the disk's sectors.
func TestFitOtherSectors(t *testing.T) {
	const size = 16 << 20
	fs := func(args ...string) []byte {
		node := loopDevice(t, make([]byte, 4<<20), 512)
		oracle.Run(t, args[0], append(args[1:], node)...)
		return onDevice(t, node)
	}
	ext1K, ext4K, fat := fs("mkfs.ext4", "-q", "-b", "1024"), fs("mkfs.ext4", "-q", "-b", "4096"), fs("mkfs.vfat")
	mbr := func(unit int, content []byte) []byte {
		disk := make([]byte, size)
		withMBR(disk, 0x83, uint32(1<<20/unit), uint32(4<<20/unit))
		copy(disk[1<<20:], content)
		return disk
	}
	for name, c := range map[string]struct {
		disk     []byte
		unit     int64 // of the source device; 0 for an image
		sector   int
		part     snapshot.Part
		smallest int // 0 to skip that test
		warning  string
	}{
		"MBR of 512":            {mbr(512, ext4K), 0, 4096, snapshot.Part{}, 5 << 20, "counts in sectors of 512 bytes, and those of the device have 4096"},
		"MBR of 4096":           {mbr(4096, ext4K), 4096, 512, snapshot.Part{}, 5 << 20, "counts in sectors of 4096 bytes, and those of the device have 512"},
		"MBR of 4096, an image": {mbr(4096, ext4K), 0, 512, snapshot.Part{}, 5 << 20, "counts in sectors of 4096 bytes, and those of the device have 512"},
		"MBR of 2048, an image": {mbr(2048, ext4K), 0, 512, snapshot.Part{}, 5 << 20, "counts in sectors of 2048 bytes, and those of the device have 512"},
		"the same sectors":      {mbr(4096, ext4K), 4096, 4096, snapshot.Part{}, 5 << 20, ""},
		// In sectors of 4096 bytes it would end at this size.
		"unknown sectors":         {mbr(2048, nil), 0, 512, snapshot.Part{}, 10 << 20, ""},
		"file system of 512":      {fat, 0, 4096, snapshot.Part{}, 0, "the file system (vfat) is read in pieces of 512 bytes, and the sectors of the device have 4096"},
		"file system of 1024":     {ext1K, 0, 4096, snapshot.Part{}, 0, "(ext4) is read in pieces of 1024 bytes"},
		"file system of 4096":     {ext4K, 0, 4096, snapshot.Part{}, 0, ""},
		"a partition, 1024":       {mbr(512, ext1K), 0, 4096, snapshot.Part{Off: 1 << 20, Len: 4 << 20, Name: "p1"}, 0, "(ext4) is read in pieces of 1024 bytes"},
		"a partition, 4096":       {mbr(512, ext4K), 0, 4096, snapshot.Part{Off: 1 << 20, Len: 4 << 20, Name: "p1"}, 0, ""},
		"a partition as it was":   {mbr(512, ext1K), 0, 512, snapshot.Part{Off: 1 << 20, Len: 4 << 20, Name: "p1"}, 0, ""},
		"no table, nothing in it": {bytes.Repeat([]byte("data"), size/4), 0, 4096, snapshot.Part{}, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r, snap := inRepo(t, c.disk)
			if c.unit != 0 {
				snap.Source.Kind, snap.Source.SectorSize = "device", c.unit
			}
			part := c.part
			if part.Name == "" {
				part = snap.Whole()
			}
			to := len(c.disk) + 1<<20
			d, err := OpenDevice(loopDevice(t, make([]byte, to), c.sector), DeviceOptions{ReadOnly: true})
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			fit, err := FitOnto(t.Context(), r, snap, part, d, FitOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if warning := strings.Join(fit.Warnings, "; "); (warning != "") != (c.warning != "") || !strings.Contains(warning, c.warning) {
				t.Errorf("it warns %q", warning)
			}
			if c.smallest == 0 {
				return
			}
			for _, to := range []int{c.smallest, c.smallest - c.sector} {
				why := refusal(t, r, snap, part, loopDevice(t, make([]byte, to), c.sector), FitOptions{ShrinkGPT: true})
				if (why == "") != (to == c.smallest) {
					t.Errorf("to %d bytes: %q", to, why)
				}
			}
		})
	}
}

// TestFitWithoutFirstGPT restores disks whose first GPT copy, or the MBR that names it, is missing to other devices.
func TestFitWithoutFirstGPT(t *testing.T) {
	const size = 16 << 20
	whole := gptDisk(t, size, 512)
	for name, c := range map[string]struct {
		damage  func(d []byte)
		refusal string // with a flag
		advice  string // without a flag
	}{
		"no first copy":     {func(d []byte) { clear(d[512:1024]) }, "its GUID partition table is damaged", "its GUID partition table is damaged"},
		"no protective MBR": {func(d []byte) { clear(d[:512]) }, "", "out of use"},
		"only the backup":   {func(d []byte) { clear(d[:34*512]) }, "", "out of use"},
	} {
		t.Run(name, func(t *testing.T) {
			disk := bytes.Clone(whole)
			c.damage(disk)
			r, snap := inRepo(t, disk)
			if why := refusal(t, r, snap, snap.Whole(), loopDevice(t, make([]byte, size-1<<20), 512), FitOptions{ShrinkGPT: true}); why == "" {
				t.Error("it fits onto a smaller device")
			}
			old := bytes.Repeat([]byte{0xff}, size+1<<20)
			larger := loopDevice(t, old, 512)
			if why := refusal(t, r, snap, snap.Whole(), larger, FitOptions{GrowGPT: true}); (why != "") != (c.refusal != "") || !strings.Contains(why, c.refusal) {
				t.Errorf("to a larger device: %q", why)
			}
			for _, o := range []FitOptions{{}, {GrowGPT: c.refusal == ""}} {
				_, fit := toDevice(t, r, snap, snap.Whole(), larger, Options{Verify: true}, o)
				advice := strings.Join(fit.Advice, "; ")
				if fit.Moves() || strings.Contains(advice, "grow-gpt puts") || !o.GrowGPT && !strings.Contains(advice, c.advice) {
					t.Errorf("%+v: moves %v, advises %q", o, fit.Moves(), advice)
				}
				copy(old, disk)
				if !bytes.Equal(onDevice(t, larger), old) {
					t.Errorf("%+v: the device is not the disk", o)
				}
			}
		})
	}
}

// TestFitUsedEnd checks that used space behind all partitions is not cut off.
func TestFitUsedEnd(t *testing.T) {
	const size = 16 << 20
	raid := make([]byte, size) // metadata version 1.0, 8 KiB before the end
	at := int64(size - 8<<10)
	binary.LittleEndian.PutUint32(raid[at:], 0xa92b4efc)
	binary.LittleEndian.PutUint32(raid[at+4:], 1)
	binary.LittleEndian.PutUint64(raid[at+144:], uint64(at)>>9)
	withMBR(raid, 0x83, 2048, 2048)
	dynamic := make([]byte, size)
	withMBR(dynamic, 0x42, 63, 8192)
	iso := make([]byte, size)
	withMBR(iso, 0x83, 2048, 2048)
	for i, d := range []string{"\x01CD001\x01", "\xffCD001\x01"} {
		copy(iso[32<<10+i*2048:], d)
	}
	binary.LittleEndian.PutUint32(iso[32<<10+80:], 4<<20/2048)
	binary.LittleEndian.PutUint16(iso[32<<10+128:], 2048)
	plain := make([]byte, size)
	withMBR(plain, 0x83, 2048, 2048)
	for name, c := range map[string]struct {
		disk  []byte
		least int
	}{"plain": {plain, 2 << 20}, "RAID": {raid, size}, "dynamic disk": {dynamic, size}, "ISO": {iso, 4 << 20}} {
		r, snap := inRepo(t, c.disk)
		for _, to := range []int{c.least, c.least - 512} {
			why := refusal(t, r, snap, snap.Whole(), loopDevice(t, make([]byte, to), 512), FitOptions{ShrinkGPT: true})
			if (why == "") != (to == c.least) || why != "" && !strings.Contains(why, fmt.Sprintf("the smallest that would do has %d", c.least)) {
				t.Errorf("%s, to %d bytes: %q", name, to, why)
			}
		}
	}
}
