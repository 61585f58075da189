package main

import (
	"slices"
	"strings"
	"testing"

	"platter/snapshot"
	"platter/snapshot/image"
	"platter/snapshot/image/anatomy"
	"platter/snapshot/restore"
)

func TestContentLines(t *testing.T) {
	many := &anatomy.Disk{Table: anatomy.MBR, SectorSize: 512}
	for i := range maxContentLines + 3 {
		many.Partitions = append(many.Partitions, anatomy.Partition{Number: i + 1, Len: 1 << 20, Type: "0x83"})
	}
	for name, c := range map[string]struct {
		disk  *anatomy.Disk
		first []string
		lines int
	}{
		"nothing":     {new(anatomy.Disk), []string{"no partition table and no file system that platter knows"}, 1},
		"file system": {&anatomy.Disk{Content: &anatomy.Content{Type: "ext4", Label: "a\nb"}}, []string{`whole disk  1.0 GiB  ext4  "a\nb"`}, 1},
		"table": {&anatomy.Disk{Table: anatomy.GPT, ID: "1234", SectorSize: 4096, Partitions: []anatomy.Partition{
			{Number: 1, Len: 1 << 20, TypeName: "EFI system", Name: "esp", Content: &anatomy.Content{Type: "vfat", Version: "FAT16"}},
			{Number: 2, Len: 1 << 29, TypeName: "Linux filesystem", Content: &anatomy.Content{Type: "ext4", Label: "root"}},
		}}, []string{"GPT 1234, sectors of 4096 bytes", `p1  1.0 MiB  EFI system  FAT16  "esp"`, `p2  512 MiB  Linux filesystem  ext4  "root"`}, 3},
		"many": {many, []string{"MBR, sectors of 512 bytes", "p1  1.0 MiB  0x83"}, maxContentLines + 2},
	} {
		got := contentLines(c.disk, 1<<30)
		if len(got) != c.lines || !slices.Equal(got[:len(c.first)], c.first) {
			t.Errorf("%s: it says %q", name, got)
		}
	}
	if got := contentLines(many, 1<<30); got[len(got)-1] != "and 3 more partitions" {
		t.Errorf("it ends with %q", got[len(got)-1])
	}
}

// TestSectorText checks that a restore warns of a device whose sectors differ from those of the stored disk.
func TestSectorText(t *testing.T) {
	for _, c := range []struct {
		source, table, device int64
		says                  string
	}{
		{512, 512, 512, ""},
		{4096, 0, 4096, ""},
		{0, 0, 4096, ""},
		{512, 0, 0, ""},
		{512, 512, 4096, "sectors of 512 bytes, and the device has sectors of 4096"},
		{0, 512, 4096, "sectors of 512 bytes, and the device has sectors of 4096"},
		{4096, 4096, 512, "sectors of 4096 bytes, and the device has sectors of 512"},
	} {
		s := &snapshot.Snapshot{Source: snapshot.Source{SectorSize: c.source}, Anatomy: &anatomy.Disk{SectorSize: c.table}}
		got := sectorText(s, &restore.Device{Identity: image.Identity{SectorSize: c.device}})
		if (got == "") != (c.says == "") || !strings.Contains(got, c.says) {
			t.Errorf("%+v: it says %q", c, got)
		}
	}
}
