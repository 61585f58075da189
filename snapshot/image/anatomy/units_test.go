package anatomy

import (
	"fmt"
	"strings"
	"testing"

	"platter/snapshot/image"
)

// mbrDisk makes a disk of 64 MiB with an MBR whose partitions are given in sectors.
func mbrDisk(parts ...layout) image.Mem {
	data := make([]byte, 64<<20)
	data[510], data[511] = 0x55, 0xaa
	for i, p := range parts {
		e := data[mbrOffset+16*i:]
		e[4] = p.kind[0]
		le.PutUint32(e[8:], uint32(p.first))
		le.PutUint32(e[12:], uint32(p.count))
	}
	return image.Mem{Data: data}
}

// TestUnits checks that a partition is where its file system is. It has MBRs count in sectors of all lengths, on
// images and on disks with sectors of all lengths.
func TestUnits(t *testing.T) {
	const mib = 1 << 20
	fs := head(t, "fat16")
	for _, unit := range []uint64{512, 2048, 4096} {
		for _, sector := range []int64{0, 512, 2048, 4096} {
			t.Run(fmt.Sprintf("counted in %d, on a disk of %d", unit, sector), func(t *testing.T) {
				disk := mbrDisk(layout{"\x83", mib / unit, mib / unit}, layout{"\x83", 3 * mib / unit, uint64(heads["fat16"].Size) / unit})
				copy(disk.Data[3*mib:], fs)
				d := checkIn(t, disk, sector)
				if d.Table != MBR || d.SectorSize != int64(unit) || d.Doubtful || len(d.Partitions) != 2 || d.Partitions[0].Off != mib || d.Partitions[1].Off != 3*mib {
					t.Errorf("found %+v", d)
				}
				other := sector != 0 && sector != int64(unit)
				if strings.Contains(strings.Join(d.Notes, "\n"), "no system finds the partitions") != other {
					t.Errorf("notes %q", d.Notes)
				}
			})
		}
	}
}

// TestDoubtful checks when the places of an MBR's partitions are doubtful. They never are on a disk with a known
// sector length.
func TestDoubtful(t *testing.T) {
	for name, c := range map[string]struct {
		parts []layout
		want  bool
	}{
		"at 1 MiB":          {[]layout{{"\x83", 2048, 1000}}, false},
		"second track":      {[]layout{{"\x83", 63, 1000}}, false},
		"most of the disk":  {[]layout{{"\x83", 100, 120000}}, false},
		"1 MiB of 2048":     {[]layout{{"\x83", 512, 1000}}, true},
		"1 MiB of 4096":     {[]layout{{"\x83", 256, 1000}}, true},
		"the second at 256": {[]layout{{"\x83", 2048, 1000}, {"\x83", 256, 1000}}, true},
	} {
		disk := mbrDisk(c.parts...)
		if d := check(t, disk); d.Doubtful != c.want || d.SectorSize != 512 || len(d.Partitions) != len(c.parts) || (len(d.Notes) > 0) != c.want {
			t.Errorf("%s: found %+v", name, d)
		}
		if d := checkIn(t, disk, 4096); d.Doubtful || d.SectorSize != 4096 {
			t.Errorf("%s, on a disk of 4096: found %+v", name, d)
		}
	}
}

// TestUnusedGPT has an MBR replace the protective one of a GPT with either copy, both or none left.
func TestUnusedGPT(t *testing.T) {
	const sectors = 2048
	last := (sectors - 1) * 512
	for name, left := range map[string][2]bool{"both": {true, true}, "primary": {true, false}, "backup": {false, true}, "none": {false, false}} {
		disk := gptDisk(sectors, layout{linuxKind, 64, 100}, layout{linuxKind, 200, 100})
		copy(disk.Data[mbrOffset:], "\x80\x00\x00\x00\x83\x00\x00\x00\x40\x00\x00\x00\xc0\x07\x00\x00")
		for i, at := range []int{512, last} {
			if !left[i] {
				clear(disk.Data[at:][:512])
			}
		}
		for _, sector := range []int64{0, 512} {
			d := checkIn(t, disk, sector)
			noted := strings.Contains(strings.Join(d.Notes, "\n"), "an unused GPT from an earlier use")
			if d.Table != MBR || len(d.Partitions) != 1 || d.Partitions[0].Off != 64*512 || noted != (left[0] || left[1]) || len(d.Notes) > 1 {
				t.Errorf("%s: found %+v", name, d)
			}
		}
	}
}

const mbrOffset = 446 // of the entries in a boot sector
