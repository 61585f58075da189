package anatomy

import (
	"encoding/json"
	"errors"
	"hash/crc32"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"platter/snapshot/image"
	"platter/snapshot/image/imagetest"
	"platter/snapshot/image/oracle"
)

// A layout is a partition that tests write into tables, in sectors.
type layout struct {
	kind         string // first bytes of a GUID; zeros if unused
	first, count uint64
}

// gptDisk writes a disk with a GPT by hand, so that tests can make any mistake in it.
func gptDisk(sectors int, parts ...layout) image.Mem {
	data := make([]byte, sectors*512)
	data[510], data[511] = 0x55, 0xaa
	data[mbrOffset+4] = 0xee
	le.PutUint32(data[mbrOffset+8:], 1)
	le.PutUint32(data[mbrOffset+12:], uint32(sectors-1))
	entries := make([]byte, 128*128)
	for i, p := range parts {
		e := entries[128*i:]
		copy(e, p.kind)
		copy(e[16:], []byte{1, 2, 3, byte(i)})
		le.PutUint64(e[32:], p.first)
		le.PutUint64(e[40:], p.first+p.count-1)
	}
	last := sectors - 1
	copy(data[2*512:], entries)
	copy(data[(last-32)*512:], entries)
	signGPT(data[512:1024], 1, uint64(last), 2, 128, 128, crc32.ChecksumIEEE(entries))
	signGPT(data[last*512:], uint64(last), 1, uint64(last-32), 128, 128, crc32.ChecksumIEEE(entries))
	return image.Mem{Data: data}
}

// signGPT writes a header with its checksum.
func signGPT(h []byte, at, other, entries uint64, count, each, sum uint32) {
	copy(h, "EFI PART")
	le.PutUint32(h[8:], 1<<16)
	le.PutUint32(h[12:], 92)
	le.PutUint64(h[24:], at)
	le.PutUint64(h[32:], other)
	le.PutUint64(h[40:], 34)
	le.PutUint64(h[48:], 1<<40)
	copy(h[56:], "the disk's guid.")
	le.PutUint64(h[72:], entries)
	le.PutUint32(h[80:], count)
	le.PutUint32(h[84:], each)
	le.PutUint32(h[88:], sum)
	clear(h[16:20])
	le.PutUint32(h[16:], crc32.ChecksumIEEE(h[:92]))
}

const linuxKind = "\xaf\x3d\xc6\x0f\x83\x84\x72\x47\x8e\x79\x3d\x69\xd8\x47\x7d\xe4"

// TestDamagedGPT damages a valid table and checks the notes.
func TestDamagedGPT(t *testing.T) {
	const sectors = 2048
	last := (sectors - 1) * 512
	good := []layout{{linuxKind, 64, 100}, {linuxKind, 200, 100}}
	for name, c := range map[string]struct {
		damage func(d []byte)
		parts  int
		note   string
	}{
		"none":            {func([]byte) {}, 2, ""},
		"primary header":  {func(d []byte) { d[512+60] ^= 1 }, 2, "the primary GPT is damaged (the checksum of its header is wrong); this is the backup"},
		"primary entries": {func(d []byte) { d[1024+200] ^= 1 }, 2, "the primary GPT is damaged (the checksum of its entries is wrong)"},
		"primary missing": {func(d []byte) { clear(d[512:1024]) }, 2, "the primary GPT is damaged (it is missing)"},
		"backup header":   {func(d []byte) { d[last+60] ^= 1 }, 2, "the backup GPT is damaged (the checksum of its header is wrong)"},
		"backup missing":  {func(d []byte) { clear(d[last:]) }, 2, "the backup GPT is damaged (it is missing)"},
		"both":            {func(d []byte) { d[512+60] ^= 1; d[last+60] ^= 1 }, 0, "the backup GPT is damaged"},
		"both missing":    {func(d []byte) { clear(d[512:1024]); clear(d[last:]) }, 0, "the MBR says that there is a GPT, but there is none"},
		"protective MBR":  {func(d []byte) { clear(d[:512]) }, 2, "no system uses the GPT as it is: its protective MBR is missing"},
		"hybrid MBR": {func(d []byte) {
			copy(d[mbrOffset+16:], "\x80\x00\x00\x00\x83\x00\x00\x00\x40\x00\x00\x00\x64\x00\x00\x00")
		}, 2, "hybrid MBR"},
		"primary in another place": {func(d []byte) { signGPT(d[512:], 2, 2047, 2, 128, 128, 0) }, 2, "it is in sector 1 and says that it belongs in sector 2"},
		"a long header":            {func(d []byte) { le.PutUint32(d[512+12:], 1<<31) }, 2, "its header claims to be 2147483648 bytes long"},
		"2^32 entries":             {func(d []byte) { signGPT(d[512:], 1, 2047, 2, 1<<32-1, 128, 0) }, 2, "it claims to have 4294967295 entries of 128 bytes"},
		"no entries":               {func(d []byte) { signGPT(d[512:], 1, 2047, 2, 0, 128, 0) }, 2, "it claims to have 0 entries"},
		"entries of 0 bytes":       {func(d []byte) { signGPT(d[512:], 1, 2047, 2, 128, 0, 0) }, 2, "it claims to have 128 entries of 0 bytes"},
		"entries beyond the end":   {func(d []byte) { signGPT(d[512:], 1, 2047, 1<<62, 128, 128, 0) }, 2, "its entries cannot be read"},
		"another table": {func(d []byte) {
			other := gptDisk(sectors, layout{linuxKind, 64, 10}).Data
			copy(d[last-32*512:], other[last-32*512:])
		}, 2, "the backup GPT differs from the primary"},
		"backup far beyond": {func(d []byte) { signGPT(d[512:], 1, 1<<60, 2, 128, 128, le.Uint32(d[512+88:])) }, 2, "the disk was larger when its GPT was made"},
		"backup before the end": {func(d []byte) {
			copy(d[1900*512:], d[2048*512-33*512:])
			sum := le.Uint32(d[512+88:])
			signGPT(d[1932*512:], 1932, 1, 1900, 128, 128, sum)
			signGPT(d[512:], 1, 1932, 2, 128, 128, sum)
			clear(d[last:])
		}, 2, "the backup GPT is not at the end of the disk"},
	} {
		t.Run(name, func(t *testing.T) {
			disk := gptDisk(sectors, good...)
			c.damage(disk.Data)
			d := check(t, disk)
			if d.Table != GPT || len(d.Partitions) != c.parts || c.parts > 0 && d.Partitions[1].Off != 200*512 {
				t.Errorf("found %+v", d)
			}
			if text := strings.Join(d.Notes, "\n"); !strings.Contains(text, c.note) || (text == "") != (c.note == "") {
				t.Errorf("notes %q, want %q", text, c.note)
			}
		})
	}
}

// TestStrangeGPT has entries that no tool makes.
func TestStrangeGPT(t *testing.T) {
	for name, c := range map[string]struct {
		parts []layout
		want  int
		note  string
	}{
		"backwards":      {[]layout{{linuxKind, 200, 0}, {linuxKind, 300, 10}}, 1, "partition 1 is outside the disk"},
		"beyond the end": {[]layout{{linuxKind, 5000, 10}, {linuxKind, 300, 10}}, 1, "partition 1 is outside the disk"},
		"across the end": {[]layout{{linuxKind, 2000, 100}}, 1, "partition 1 extends past the end of the disk"},
		"huge":           {[]layout{{linuxKind, 1 << 60, 1 << 63}, {linuxKind, 1<<64 - 1, 1}}, 0, "partition 2 is outside the disk"},
		"all of it":      {[]layout{{linuxKind, 0, 0}}, 0, "partition 1 is outside"}, // 2^64 sectors
		"overlap":        {[]layout{{linuxKind, 200, 100}, {linuxKind, 100, 101}}, 2, "partitions 2 and 1 overlap"},
		"touching":       {[]layout{{linuxKind, 200, 100}, {linuxKind, 100, 100}}, 2, ""},
	} {
		t.Run(name, func(t *testing.T) {
			d := check(t, gptDisk(2048, c.parts...))
			if len(d.Partitions) != c.want {
				t.Errorf("found %+v", d)
			}
			if text := strings.Join(d.Notes, "\n"); !strings.Contains(text, c.note) || (text == "") != (c.note == "") {
				t.Errorf("notes %q, want %q", text, c.note)
			}
		})
	}
}

// TestManyPartitions checks the limits of a Disk.
func TestManyPartitions(t *testing.T) {
	const sectors, count = 16384, 8192
	disk := gptDisk(sectors)
	entries := make([]byte, count*128)
	for i := range count {
		e := entries[128*i:]
		copy(e, linuxKind)
		copy(e[56:], strings.Repeat("\x3c\x00", 36)) // six bytes each in JSON
		le.PutUint64(e[32:], uint64(3000+i))
		le.PutUint64(e[40:], uint64(3000+i))
	}
	copy(disk.Data[2*512:], entries)
	signGPT(disk.Data[512:], 1, sectors-1, 2, count, 128, crc32.ChecksumIEEE(entries))
	d := check(t, disk)
	if len(d.Partitions) != maxPartitions || !strings.Contains(strings.Join(d.Notes, "\n"), "more than 256 partitions") {
		t.Errorf("%d partitions, notes %q", len(d.Partitions), d.Notes)
	}
}

// check reads a disk and checks what must be true of every disk.
func check(t testing.TB, disk image.Disk) *Disk {
	t.Helper()
	return checkIn(t, disk, 0)
}

// checkIn does the same for a disk with a known sector length.
func checkIn(t testing.TB, disk image.Disk, sector int64) *Disk {
	t.Helper()
	d := read(newReader(disk, sector))
	out, err := json.Marshal(d)
	if err != nil || len(out) > 1<<20 || len(d.Partitions) > maxPartitions || len(d.Notes) > maxNotes {
		t.Fatalf("%d bytes of JSON, %d partitions, %d notes: %v", len(out), len(d.Partitions), len(d.Notes), err)
	}
	for i, p := range d.Partitions {
		if p.Off < 0 || p.Len <= 0 || p.Off >= disk.Size() || p.Off+p.Len < p.Off || p.Number < 1 || i > 0 && p.Number <= d.Partitions[i-1].Number {
			t.Fatalf("partition %+v on a disk of %d bytes", p, disk.Size())
		}
	}
	return d
}

// A link is a boot sector of a chain: its sector, its own partition and the next link, as written.
type link struct {
	at, first, count, next uint32
}

// chained makes a disk with an extended partition from sector 100 on.
func chained(links ...link) image.Mem {
	data := make([]byte, 4096*512)
	write := func(at uint32, slot int, kind byte, first, count uint32) {
		s := data[at*512:]
		s[510], s[511] = 0x55, 0xaa
		e := s[mbrOffset+16*slot:]
		e[4] = kind
		le.PutUint32(e[8:], first)
		le.PutUint32(e[12:], count)
	}
	write(0, 0, 0x83, 10, 50)
	write(0, 1, 0x05, 100, 3000)
	for _, l := range links {
		write(l.at, 0, 0x83, l.first, l.count)
		if l.next != 0 {
			write(l.at, 1, 0x05, l.next, 100)
		}
	}
	return image.Mem{Data: data}
}

// TestChains follows chains of logical partitions, valid and invalid.
func TestChains(t *testing.T) {
	for name, c := range map[string]struct {
		links []link
		want  []int64 // sectors at which logical partitions begin
		note  string
	}{
		"good":                {[]link{{100, 1, 10, 100}, {200, 1, 10, 0}}, []int64{101, 201}, ""},
		"not in disk order":   {[]link{{100, 1, 10, 500}, {600, 1, 10, 100}, {200, 1, 10, 0}}, []int64{101, 601, 201}, ""},
		"an empty link":       {[]link{{100, 0, 0, 100}, {200, 1, 10, 0}}, []int64{201}, ""},
		"to itself":           {[]link{{100, 1, 10, 100}, {200, 1, 10, 100}}, []int64{101, 201}, "is invalid at sector 200"},
		"round":               {[]link{{100, 1, 10, 500}, {600, 1, 10, 100}, {200, 1, 10, 500}}, []int64{101, 601, 201}, "is invalid at sector 600"},
		"out of the disk":     {[]link{{100, 1, 10, 1 << 30}}, []int64{101}, "is invalid at sector"},
		"to nothing":          {[]link{{100, 1, 10, 700}}, []int64{101}, "ends early at sector 800"},
		"out of its room":     {[]link{{100, 1, 3500, 0}}, []int64{101}, "partition 5, at sector 101, extends past partition 2"},
		"no chain":            {nil, nil, "ends early at sector 100"},
		"a partition outside": {[]link{{100, 1 << 31, 10, 100}, {200, 1, 10, 0}}, []int64{201}, "partition 5 is outside the disk"},
	} {
		t.Run(name, func(t *testing.T) {
			d := check(t, chained(c.links...))
			var got []int64
			for _, p := range d.Partitions {
				if p.Number > 4 {
					got = append(got, p.Off/512)
				}
			}
			if len(d.Partitions) != 2+len(c.want) || len(got) != len(c.want) {
				t.Fatalf("found %+v", d)
			}
			for i := range got {
				if got[i] != c.want[i] {
					t.Errorf("logical partitions begin at %v, want %v", got, c.want)
				}
			}
			if text := strings.Join(d.Notes, "\n"); !strings.Contains(text, c.note) || (text == "") != (c.note == "") {
				t.Errorf("notes %q, want %q", text, c.note)
			}
		})
	}
}

// TestLeftovers checks which content wins if remains of another are on the disk.
func TestLeftovers(t *testing.T) {
	gpt := oracle.Blank(t, 64<<20)
	oracle.Feed(t, "label: gpt\nsize=20M\n", "sfdisk", "-q", gpt)
	mbr := oracle.Blank(t, 64<<20)
	oracle.Feed(t, "label: dos\nsize=20M\n", "sfdisk", "-q", mbr)

	t.Run("file system over a GPT", func(t *testing.T) {
		path := copyOf(t, gpt)
		fs := oracle.Blank(t, 60<<20)
		oracle.Run(t, "mkfs.ext4", "-q", "-F", fs)
		paste(t, path, 0, fs)
		d := readFile(t, path)
		if d.Table != "" || d.Content == nil || d.Content.Type != "ext4" || len(d.Notes) != 1 {
			t.Errorf("found %+v", d)
		}
	})
	t.Run("MBR over a GPT", func(t *testing.T) {
		path := copyOf(t, gpt)
		data, err := os.ReadFile(mbr)
		if err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.WriteAt(data[:512], 0)
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
		d := readFile(t, path)
		if d.Table != MBR || len(d.Partitions) != 1 || len(d.Notes) != 1 || !strings.Contains(d.Notes[0], "unused GPT from an earlier use") {
			t.Errorf("found %+v", d)
		}
	})
	t.Run("two file systems", func(t *testing.T) {
		path := oracle.Blank(t, 320<<20)
		oracle.Run(t, "mkfs.ext4", "-q", "-F", path)
		xfs := oracle.Blank(t, 320<<20)
		oracle.Run(t, "mkfs.xfs", "-q", xfs)
		data, err := os.ReadFile(xfs)
		if err != nil {
			t.Fatal(err)
		}
		from := oracle.Blank(t, 0)
		if err := os.WriteFile(from, data[:512], 0o600); err != nil {
			t.Fatal(err)
		}
		paste(t, path, 0, from)
		d := readFile(t, path)
		if d.Content == nil || d.Content.Type != "xfs" || len(d.Notes) != 1 || !strings.Contains(d.Notes[0], "like xfs and also like ext4") {
			t.Errorf("found %+v", d)
		}
	})
	t.Run("no table in a boot sector", func(t *testing.T) {
		for _, make := range [][]string{{"mkfs.vfat", "-F", "32"}, {"mkfs.ntfs", "-q", "-F", "-f"}, {"mkfs.exfat"}} {
			path := oracle.Blank(t, 64<<20)
			oracle.Run(t, make[0], append(make[1:], path)...)
			if d := readFile(t, path); d.Table != "" || d.Content == nil || len(d.Notes) > 0 {
				t.Errorf("%s: found %+v", make[0], d)
			}
		}
	})
	t.Run("file system longer than its partition", func(t *testing.T) {
		path := copyOf(t, gpt)
		fs := oracle.Blank(t, 30<<20)
		oracle.Run(t, "mkfs.ext4", "-q", "-F", fs)
		d := readFile(t, path)
		paste(t, path, d.Partitions[0].Off, fs)
		d = readFile(t, path)
		if len(d.Notes) == 0 || !strings.Contains(d.Notes[len(d.Notes)-1], "partition 1 is 20971520 bytes long, but its ext4 has 31457280") {
			t.Errorf("notes %q", d.Notes)
		}
	})
}

func copyOf(t *testing.T, path string) string {
	t.Helper()
	made := oracle.Blank(t, 0)
	paste(t, made, 0, path)
	return made
}

// failing returns a disk that is unreadable in bad sectors.
func failing(disk image.Disk, bad func(off int64) bool) *imagetest.Faulty {
	return &imagetest.Faulty{Disk: disk, Bad: imagetest.Where(bad, errors.New("medium error")), Partial: true}
}

// TestFailing reads tables from unreadable disks.
func TestFailing(t *testing.T) {
	parts := []layout{{linuxKind, 64, 1000}, {linuxKind, 2000, 1000}}
	t.Run("primary", func(t *testing.T) {
		d := check(t, failing(gptDisk(16384, parts...), func(off int64) bool { return off >= 512 && off < 1024 }))
		if len(d.Partitions) != 2 || !strings.Contains(strings.Join(d.Notes, "\n"), "medium error") {
			t.Errorf("found %+v", d)
		}
	})
	t.Run("all of it", func(t *testing.T) {
		f := failing(gptDisk(16384, parts...), func(int64) bool { return true })
		d := check(t, f)
		if f.Reads() > maxFaults || d.Table != "" || !strings.Contains(strings.Join(d.Notes, "\n"), "nothing more was examined") {
			t.Errorf("%d reads, found %+v", f.Reads(), d)
		}
	})
	t.Run("shorter than it says", func(t *testing.T) {
		d := check(t, short{gptDisk(16384, parts...)})
		if len(d.Notes) == 0 {
			t.Errorf("found %+v", d)
		}
	})
}

// A short disk ends before its size.
type short struct{ image.Mem }

func (s short) ReadAt(p []byte, off int64) (int, error) {
	if off > 100 {
		return 0, io.EOF
	}
	return s.Mem.ReadAt(p[:100], off)
}

// TestReadIsBounded counts the bytes read for a table that names as much as possible.
func TestReadIsBounded(t *testing.T) {
	parts := make([]layout, 128)
	for i := range parts {
		parts[i] = layout{linuxKind, 40, 1 << 20}
	}
	sparse := &imagetest.Faulty{Disk: gptDisk(16384, parts...)}
	start := time.Now()
	check(t, sparse)
	if sparse.BytesRead() > maxRead || time.Since(start) > time.Minute {
		t.Errorf("%d bytes read in %v", sparse.BytesRead(), time.Since(start))
	}
}

// TestPanic checks that a panic in this package becomes a note.
func TestPanic(t *testing.T) {
	d := Read(failing(gptDisk(2048), func(int64) bool { panic("a fault") }), 0)
	if len(d.Notes) != 1 || !strings.Contains(d.Notes[0], "a fault") {
		t.Errorf("found %+v", d)
	}
}
