package anatomy

import (
	"bytes"
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"testing"
	"unicode/utf16"

	"platter/snapshot/image"
	"platter/snapshot/image/imagetest"
	"platter/snapshot/image/oracle"
)

var madeID = []byte("\x5a\x1e\x00\x01\x00\x02\x40\x00\x80\x00\x00\x00\x00\x00\x00\x0a")

// mdSuper makes the superblock of a Linux RAID, version 1.x, for an offset in bytes.
func mdSuper(at int64) []byte {
	b := make([]byte, 256)
	le.PutUint32(b, 0xa92b4efc)
	le.PutUint32(b[4:], 1)
	copy(b[16:], madeID)
	copy(b[32:], "host:data")
	le.PutUint64(b[80:], 1000)
	le.PutUint64(b[144:], uint64(at)>>9)
	sum := uint64(0)
	for i := 0; i < len(b); i += 4 {
		sum += uint64(le.Uint32(b[i:]))
	}
	le.PutUint32(b[216:], uint32(sum)+uint32(sum>>32))
	return b
}

// mdSuper0 makes the superblock of version 0.90.
func mdSuper0() []byte {
	b := make([]byte, 4096)
	for i, v := range map[int]uint32{0: 0xa92b4efc, 8: 90, 20: 0x01020304, 32: 1000, 52: 0x11121314, 56: 0x21222324, 60: 0x31323334} {
		le.PutUint32(b[i:], v)
	}
	return b
}

// zfsLabel makes the list of names and values of a pool's member.
func zfsLabel() []byte {
	b := []byte{1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}
	pair := func(name string, kind uint32, value []byte) {
		p := binary.BigEndian.AppendUint32(nil, uint32(len(name)))
		p = append(p, name...)
		p = append(p, make([]byte, -len(name)&3)...)
		p = binary.BigEndian.AppendUint32(p, kind)
		p = binary.BigEndian.AppendUint32(p, 1)
		p = append(append(p, value...), make([]byte, -len(value)&3)...)
		b = binary.BigEndian.AppendUint32(b, uint32(len(p)+8))
		b = binary.BigEndian.AppendUint32(b, uint32(len(p)+8))
		b = append(b, p...)
	}
	number := func(v uint64) []byte { return binary.BigEndian.AppendUint64(nil, v) }
	pair("version", 8, number(5000))
	pair("name", 9, append([]byte{0, 0, 0, 4}, "tank"...))
	pair("state", 8, number(0))
	pair("txg", 8, number(4))
	pair("pool_guid", 8, number(1234567890123456789))
	pair("guid", 8, number(42))
	return append(b, make([]byte, 8)...)
}

// uberblocks makes the uberblocks that older versions of blkid need.
func uberblocks() []byte {
	b := make([]byte, 16<<10)
	for i := 0; i < len(b); i += 1024 {
		le.PutUint64(b[i:], 0x00bab10c)
	}
	return b
}

// hfsPlus makes a header, and a catalogue of two nodes at byte 64 KiB.
func hfsPlus() (header, catalogue []byte) {
	header, catalogue = make([]byte, 512), make([]byte, 16384)
	copy(header, "H+\x00\x04")
	be.PutUint32(header[40:], 4096)
	be.PutUint32(header[44:], 2048)
	copy(header[104:], "\x01\x02\x03\x04\x05\x06\x07\x08")
	be.PutUint32(header[288:], 16) // the catalogue's first extent
	be.PutUint32(header[292:], 4)
	catalogue[8] = 1
	be.PutUint32(catalogue[14+6:], 1)     // leaves
	be.PutUint32(catalogue[14+10:], 1)    // the first leaf
	be.PutUint16(catalogue[14+18:], 8192) // length of a node
	leaf := catalogue[8192:]
	leaf[8] = 0xff
	be.PutUint16(leaf[10:], 2)
	be.PutUint32(leaf[16:], 1)
	name := utf16.Encode([]rune("Macintosh Änd"))
	be.PutUint16(leaf[20:], uint16(len(name)))
	for i, c := range name {
		be.PutUint16(leaf[22+2*i:], c)
	}
	return header, catalogue
}

// TestMade compares with blkid content that no tool here makes; it is written by hand.
func TestMade(t *testing.T) {
	const size = 72<<20 + 12345
	type piece struct {
		at   int64
		data []byte
	}
	mdEnd := int64(size&^4095 - 8192)
	header, catalogue := hfsPlus()
	toGo := append([]byte("\xeb\x58\x90MSWIN4.1"), make([]byte, 501)...)
	le.PutUint64(toGo[440:], 1<<20)
	locked := append([]byte("\xeb\x58\x90-FVE-FS-"), make([]byte, 501)...)
	le.PutUint64(locked[176:], 1<<20)
	meta := append([]byte("-FVE-FS-\x00\x00\x02\x00"), make([]byte, 100)...)
	copy(meta[80:], madeID)
	asleep := make([]byte, 4096)
	le.PutUint32(asleep[1024:], 1)
	le.PutUint32(asleep[1028:], 4095)
	copy(asleep[1036:], madeID)
	copy(asleep[4086:], "S1SUSPEND")
	for name, c := range map[string]struct {
		pieces []piece
		want   Content
	}{
		"md 1.0":    {[]piece{{mdEnd, mdSuper(mdEnd)}}, Content{Type: typeMD, Version: "1.0", Label: "host:data", UUID: uuid(madeID)}},
		"md 1.1":    {[]piece{{0, mdSuper(0)}}, Content{Type: typeMD, Version: "1.1", Label: "host:data", UUID: uuid(madeID)}},
		"md 1.2":    {[]piece{{4096, mdSuper(4096)}}, Content{Type: typeMD, Version: "1.2", Label: "host:data", UUID: uuid(madeID)}},
		"md 0.90":   {[]piece{{size&^0xffff - 0x10000, mdSuper0()}}, Content{Type: typeMD, Version: "0.90", UUID: "01020304-1112-1314-2122-232431323334"}},
		"zfs":       {[]piece{{16 << 10, zfsLabel()}, {128 << 10, uberblocks()}}, Content{Type: "zfs_member", Version: "5000", Label: "tank", UUID: "1234567890123456789"}},
		"hfsplus":   {[]piece{{1024, header}, {64 << 10, catalogue}}, Content{Type: "hfsplus", Label: "Macintosh Änd", UUID: hfsUUID([]byte{1, 2, 3, 4, 5, 6, 7, 8}), Size: 8 << 20}},
		"bitlocker": {[]piece{{0, locked}, {1 << 20, meta}}, Content{Type: "BitLocker", Version: "2", UUID: guid(madeID)}},
		"to go":     {[]piece{{0, toGo}, {1 << 20, meta}}, Content{Type: "BitLocker", Version: "2", UUID: guid(madeID)}},
		"asleep":    {[]piece{{0, asleep}}, Content{Type: "swsuspend", Version: "1", UUID: uuid(madeID), Size: 16 << 20}},
	} {
		t.Run(name, func(t *testing.T) {
			path := oracle.Blank(t, size)
			for _, p := range c.pieces {
				from := filepath.Join(t.TempDir(), "piece")
				if err := os.WriteFile(from, p.data, 0o600); err != nil {
					t.Fatal(err)
				}
				paste(t, path, p.at, from)
			}
			d := readFile(t, path)
			if d.Content == nil || *d.Content != c.want {
				t.Fatalf("found %+v, want %+v", d.Content, c.want)
			}
			want := blkid(t, path)
			if c.want.Type == "BitLocker" && want["UUID_ENC"] == "" { // blkid has it since 2.40
				want["UUID_ENC"] = c.want.UUID
			}
			if c.want.Type != want["TYPE"] || c.want.Label != want["LABEL_ENC"] || c.want.UUID != want["UUID_ENC"] {
				t.Errorf("found %+v, blkid says %v", *d.Content, want)
			}
		})
	}
}

// heads lists the expected content of the first 160 KiB of images that each file system's tools made.
var heads = map[string]Content{
	"apfs":     {Type: "apfs", UUID: uuid(headID), Size: 600 << 20},
	"btrfs":    {Type: "btrfs", Label: "pool", UUID: uuid(headID), Size: 128 << 20},
	"exfat":    {Type: "exfat", Label: "Sticks", Size: 4 << 20},
	"ext4":     {Type: "ext4", Label: "root", UUID: uuid(headID), Size: 64 << 20},
	"f2fs":     {Type: "f2fs", Version: "1.15", Label: "flash", Size: 64 << 20},
	"fat16":    {Type: "vfat", Version: "FAT16", Label: "SIXTEEN", UUID: "1234-ABCD", Size: 4 << 20},
	"iso9660":  {Type: "iso9660", Version: "Joliet Extension", Label: "A_long_label_of_a_disk"},
	"luks":     {Type: "crypto_LUKS", Version: "2", Label: "vault", UUID: uuid(headID)},
	"lvm":      {Type: "LVM2_member", UUID: "9ut1ji-UALA-BwqT-KfD4-8gso-bO5i-7mSg1X", Size: 64 << 20},
	"ntfs":     {Type: "ntfs", Label: "Windows", Size: 8<<20 - 512},
	"squashfs": {Type: "squashfs", Version: "4.0"},
	"swap":     {Type: "swap", Version: "1", Label: "swap", UUID: uuid(headID), Size: 16 << 20},
	"xfs":      {Type: "xfs", Label: "data", UUID: uuid(headID), Size: 320 << 20},
}

var headID = []byte("\x5a\x1e\x00\x00\x00\x00\x40\x00\x80\x00\x00\x00\x00\x00\x00\x0a")

func head(t testing.TB, name string) []byte {
	t.Helper()
	return imagetest.Gunzip(t, filepath.Join("testdata", "heads", name+".gz"))
}

// TestHeads needs no tools. It does not compare values that a tool chose or counted itself.
func TestHeads(t *testing.T) {
	for name, want := range heads {
		d := check(t, image.Mem{Data: head(t, name)})
		if d.Content == nil {
			t.Errorf("%s: no content found", name)
			continue
		}
		got := *d.Content
		if want.UUID == "" {
			got.UUID = ""
		}
		if want.Size == 0 {
			got.Size = 0
		}
		if got != want || len(d.Notes) > 0 {
			t.Errorf("%s: found %+v, want %+v; notes %q", name, got, want, d.Notes)
		}
	}
}

// TestContentAt looks at a run of a disk, at one that extends past its end, and at invalid ones.
func TestContentAt(t *testing.T) {
	const at = 3 << 20
	data := append(make([]byte, at), head(t, "ext4")...)
	disk, n := image.Mem{Data: data}, int64(len(data)-at)
	for _, length := range []int64{n, n + 1, math.MaxInt64} {
		if c, unit := ContentAt(disk, at, length); c == nil || *c != heads["ext4"] || unit != 1024 {
			t.Errorf("%d bytes: found %+v, read in %d bytes", length, c, unit)
		}
	}
	for _, run := range [][2]int64{{0, at}, {at + 512, n}, {at, 0}, {at, -1}, {-1, n}, {at + n, 1}, {math.MaxInt64, math.MaxInt64}} {
		if c, _ := ContentAt(disk, run[0], run[1]); c != nil {
			t.Errorf("%d bytes at %d: found %+v", run[1], run[0], c)
		}
	}
	if c, _ := ContentAt(failing(disk, func(int64) bool { panic("a fault") }), at, n); c != nil {
		t.Errorf("found %+v", c)
	}
}

// TestLabels checks how labels are cut and cleaned.
func TestLabels(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"plain", "plain"},
		{"cut\x00off", "cut"},
		{"spaces  \n", "spaces"},
		{"", ""},
		{"\xff\xfe", "\ufffd"},
		{string(bytes.Repeat([]byte("ä"), 200)), string(bytes.Repeat([]byte("ä"), 127))},
	} {
		if got := label([]byte(c.in)); got != c.want {
			t.Errorf("label(%q) = %q, want %q", c.in, got, c.want)
		}
	}
	for _, c := range []struct{ primary, joliet, want string }{
		{"LONG_LABEL_OF_A_DISK", "Long Label of a ", "Long Label of a DISK"},
		{"GR__E", "Größe", "Größe"},
		{"OTHER", "Label", "Label"},
		{"KURZ", "", "KURZ"},
		{"A", "Ab", "Ab"},
	} {
		if got := jolietLabel(c.primary, c.joliet); got != c.want {
			t.Errorf("jolietLabel(%q, %q) = %q, want %q", c.primary, c.joliet, got, c.want)
		}
	}
}

// TestSectors checks that a known sector length is used if it is plausible and content is found that way. It is not
// used for a GPT, which has its own.
func TestSectors(t *testing.T) {
	disk := chained(link{100, 1, 10, 0})
	for sector, noted := range map[int64]bool{512: false, 1024: true, 4096: true, 0: false, 513: false, -4096: false, 1 << 40: false} {
		d := checkIn(t, disk, sector)
		if d.SectorSize != 512 || len(d.Partitions) == 0 || d.Partitions[0].Off != 10*512 || (len(d.Notes) > 0) != noted {
			t.Errorf("sectors of %d bytes: found %+v", sector, d)
		}
		d = checkIn(t, gptDisk(2048, layout{linuxKind, 64, 100}), sector)
		if d.SectorSize != 512 || len(d.Partitions) != 1 || len(d.Notes) > 0 {
			t.Errorf("a GPT in sectors of 512 bytes, on a disk of %d: found %+v", sector, d)
		}
	}
}
