package snapshot

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"platter/pack"
	"platter/snapshot/image"
	"platter/snapshot/image/anatomy"
)

// TestVerdict checks the table of docs/disks.md: the first row that fits decides, for every combination of evidence.
func TestVerdict(t *testing.T) {
	type row struct {
		name string
		when func(e evidence) bool
		want Verdict
	}
	is := func(place ...placement) func(evidence) bool {
		return func(e evidence) bool { return slices.Contains(place, e.place) }
	}
	fixed := func(e evidence) bool { return e.hardware == same && !e.removable }
	rows := []row{
		{"other hardware", func(e evidence) bool { return e.hardware == other }, Another},
		{"the same hardware, other marks and another size", func(e evidence) bool { return fixed(e) && e.marks == other && e.resized }, Another},
		{"the same hardware, other marks", func(e evidence) bool { return fixed(e) && e.marks == other }, Changed},
		{"the same hardware", fixed, Same},
		{"the same place, another card in the reader", func(e evidence) bool { return is(placeSame)(e) && e.marks == other && e.removable }, Another},
		{"the same place, other marks", func(e evidence) bool { return is(placeSame)(e) && e.marks == other }, Changed},
		{"the same place", is(placeSame), Same},
		{"other marks", func(e evidence) bool { return e.marks == other }, Another},
		{"no place", is(placeUnknown), Same},
		{"a link that leads elsewhere, same marks", func(e evidence) bool { return is(placeRelinked)(e) && e.marks == same }, Same},
		{"a link that leads elsewhere", is(placeRelinked), Unsure},
		{"moved, with a name", func(e evidence) bool { return is(placeMoved)(e) && e.named }, Same},
		{"moved, same marks", func(e evidence) bool { return is(placeMoved)(e) && e.marks == same }, Same},
		{"elsewhere, with a name, same marks", func(e evidence) bool { return is(placeElsewhere)(e) && e.named && e.marks == same }, Same},
		{"elsewhere, with a name", func(e evidence) bool { return is(placeElsewhere)(e) && e.named }, Unsure},
		{"elsewhere, without a name", is(placeElsewhere, placeMoved), Another},
	}
	used := map[string]bool{}
	for n := range 3 * 3 * 5 * 8 {
		e := evidence{hardware: sameness(n % 3), marks: sameness(n / 3 % 3), place: placement(n / 9 % 5), named: n/45&1 != 0, removable: n/45&2 != 0, resized: n/45&4 != 0}
		i := slices.IndexFunc(rows, func(r row) bool { return r.when(e) })
		used[rows[i].name] = true
		if got := e.verdict(); got != rows[i].want {
			t.Errorf("%+v (%s): %v, want %v", e, rows[i].name, got, rows[i].want)
		}
	}
	if len(used) != len(rows) {
		t.Errorf("of %d rows %d were used", len(rows), len(used))
	}
}

func tableOf(id string, contents ...string) *anatomy.Disk {
	d := &anatomy.Disk{Table: anatomy.GPT, ID: id}
	for i, c := range contents {
		kind, uuid, _ := strings.Cut(c, " ")
		d.Partitions = append(d.Partitions, anatomy.Partition{Number: i + 1, UUID: id + c, Content: &anatomy.Content{Type: kind, UUID: uuid}})
	}
	return d
}

func TestCompareMarks(t *testing.T) {
	whole := func(kind, uuid string) *anatomy.Disk {
		return &anatomy.Disk{Content: &anatomy.Content{Type: kind, UUID: uuid}}
	}
	for _, c := range []struct {
		name string
		a, b *anatomy.Disk
		want sameness
	}{
		{"nothing looked", nil, tableOf("a"), unknown},
		{"nothing there", new(anatomy.Disk), tableOf("a"), unknown},
		{"table", tableOf("a", "ext4 1"), tableOf("A", "ext4 2"), same},
		{"another table, the file systems stay", tableOf("a", "ext4 1"), &anatomy.Disk{Table: anatomy.MBR, ID: "01", Partitions: tableOf("", "ext4 1").Partitions}, same},
		{"all made again", tableOf("a", "ext4 1"), tableOf("b", "ext4 2"), other},
		{"whole disk", whole("ext4", "1"), whole("ext4", "1"), same},
		{"other file system", whole("ext4", "1"), whole("ext4", "2"), other},
		{"table and none", tableOf("a"), whole("ext4", "2"), other},
		{"both disks of a mirror", tableOf("a", "linux_raid_member 1"), tableOf("b", "linux_raid_member 1"), other},
		{"both disks of a pool", whole("zfs_member", "1"), whole("zfs_member", "1"), unknown},
		{"no number", &anatomy.Disk{Table: anatomy.MBR, ID: "00000000"}, &anatomy.Disk{Table: anatomy.MBR, ID: "00000000"}, unknown},
	} {
		if got := compareMarks(marks(c.a), marks(c.b)); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestCompareSources(t *testing.T) {
	file := func(path string) Source { return Source{Kind: image.KindRaw, Path: path, Place: path} }
	device := func(path, place, serial string) Source {
		return Source{Kind: image.KindDevice, Path: path, Place: place, Serial: serial}
	}
	with := func(s Source, change func(*Source)) Source { change(&s); return s }
	sda := device("/dev/sda", "/dev/sda", "")
	for _, c := range []struct {
		name     string
		a, b     Source
		place    placement
		hardware sameness
	}{
		{"the same file", file("/a/d"), file("/a/d"), placeSame, unknown},
		{"another folder", file("/a/d"), file("/b/d"), placeElsewhere, unknown},
		{"of before places were kept", Source{Kind: "raw", Path: "/a/d"}, file("/a/d"), placeSame, unknown},
		{"of before, elsewhere", Source{Kind: "raw", Path: "/a/d"}, file("/b/d"), placeElsewhere, unknown},
		{"of before, by a link", Source{Kind: "raw", Path: "/l/d"}, Source{Kind: "raw", Path: "/l/d", Place: "/a/d"}, placeSame, unknown},
		{"of before, relative", Source{Kind: "raw", Path: "d"}, file("/a/d"), placeUnknown, unknown},
		{"of Windows", Source{Kind: "raw", Path: `C:\d`}, file("/a/d"), placeElsewhere, unknown},
		{"the same export", Source{Kind: "nbd", Path: "nbd://h/d", Place: "nbd://h/d"}, Source{Kind: "nbd", Path: "nbd://h/d", Place: "nbd://h/d"}, placeSame, unknown},
		{"another export", Source{Kind: "nbd", Path: "nbd://h/d", Place: "nbd://h/d"}, Source{Kind: "nbd", Path: "nbd://h/e", Place: "nbd://h/e"}, placeElsewhere, unknown},
		{"a file, then an export", file("/a/d"), Source{Kind: "nbd", Path: "nbd://h/d", Place: "nbd://h/d"}, placeElsewhere, unknown},
		{"a link that leads elsewhere", Source{Kind: "raw", Path: "/l", Place: "/a"}, Source{Kind: "raw", Path: "/l", Place: "/b"}, placeRelinked, unknown},
		{"two links to one file", Source{Kind: "raw", Path: "/l", Place: "/a"}, Source{Kind: "raw", Path: "/k", Place: "/a"}, placeSame, unknown},
		{"another format", file("/a/d"), with(file("/a/d"), func(s *Source) { s.Kind = "qcow2" }), placeSame, unknown},
		{"streams", Source{Kind: "stream", Path: "-"}, Source{Kind: "stream", Path: "-"}, placeUnknown, unknown},
		{"a name that the kernel gives", sda, sda, placeUnknown, unknown},
		{"a link in /dev", device("/dev/vg/root", "/dev/dm-1", ""), device("/dev/vg/root", "/dev/dm-2", ""), placeSame, unknown},
		{"two links in /dev", device("/dev/vg/root", "/dev/dm-1", ""), device("/dev/gv/root", "/dev/dm-1", ""), placeElsewhere, unknown},
		{"device-mapper by name", device("/dev/vg/root", "/dev/mapper/vg-root", ""), device("/dev/mapper/vg-root", "/dev/mapper/vg-root", ""), placeSame, unknown},
		{"another file behind a loop device", device("/dev/loop0", "/a/d", ""), device("/dev/loop0", "/b/d", ""), placeElsewhere, unknown},
		{"another loop device over the same file", device("/dev/loop0", "/a/d", ""), device("/dev/loop1", "/a/d", ""), placeSame, unknown},
		{"serial", device("/dev/sda", "/dev/sda", "1"), device("/dev/sdb", "/dev/sdb", "1"), placeUnknown, same},
		{"another serial", device("/dev/sda", "/dev/sda", "1"), device("/dev/sda", "/dev/sda", "2"), placeUnknown, other},
		{"no serial any more", device("/dev/sda", "/dev/sda", "1"), sda, placeUnknown, unknown},
		{"a serial, and a file", device("/dev/sda", "/dev/sda", "1"), file("/dev/sda"), placeUnknown, unknown},
		{
			"another serial, the same WWN", with(device("/dev/sda", "/dev/sda", "1"), func(s *Source) { s.WWN = "naa.50AB" }),
			with(device("/dev/sda", "/dev/sda", "2"), func(s *Source) { s.WWN = "0x50ab" }), placeUnknown, same,
		},
		{
			"the same serial, another WWN", with(device("/dev/sda", "/dev/sda", "1"), func(s *Source) { s.WWN = "eui.01" }),
			with(device("/dev/sda", "/dev/sda", "1"), func(s *Source) { s.WWN = "eui.02" }), placeUnknown, other,
		},
		{"another model", with(sda, func(s *Source) { s.Model = "A" }), with(sda, func(s *Source) { s.Model = "B" }), placeUnknown, other},
		{"another partition", device("/dev/sda", "/dev/sda", "1"), with(device("/dev/sda", "/dev/sda", "1"), func(s *Source) { s.Partition = 2 }), placeUnknown, other},
		{
			"partitions were not kept",
			Source{Kind: image.KindDevice, Path: "/dev/sda2", Serial: "1"},
			with(device("/dev/sda2", "/dev/sda2", "1"), func(s *Source) { s.Partition = 2 }), placeUnknown, same,
		},
	} {
		if got := comparePlaces(c.a, c.b); got != c.place {
			t.Errorf("%s: place %v, want %v", c.name, got, c.place)
		}
		if got, _ := compareHardware(c.a, c.b, nil); got != c.hardware {
			t.Errorf("%s: hardware %v, want %v", c.name, got, c.hardware)
		}
	}
}

// TestPolicyOfSeveralDisks checks two things. An older platter did not distinguish disks of one name: for each of them,
// a policy keeps what it would keep for that disk alone. Versions that name the same disk belong to one disk, wherever
// they were read.
func TestPolicyOfSeveralDisks(t *testing.T) {
	type disk func(s *Snapshot)
	file := func(path string) disk { return func(s *Snapshot) { s.Source = Source{Kind: "raw", Path: path} } }
	sda := func(serial, table string) disk {
		return func(s *Snapshot) {
			s.Name, s.Source = "a/sda", Source{Kind: "device", Path: "/dev/sda", Serial: serial}
			if table != "" {
				s.Anatomy = tableOf(table)
			}
		}
	}
	of := func(id string, d disk) disk { return func(s *Snapshot) { d(s); s.Disk = id } }
	for name, c := range map[string]struct {
		a, b disk
		one  bool
	}{
		"folders":                            {a: file("/a/web"), b: file("/b/web")},
		"serial numbers":                     {a: sda("1", ""), b: sda("2", "")},
		"serial numbers of clones":           {a: sda("1", "x"), b: sda("2", "x")},
		"tables":                             {a: sda("", "x"), b: sda("", "y")},
		"a new table":                        {a: sda("1", "x"), b: sda("1", "y"), one: true},
		"they say that they are one":         {a: of("1", file("/a/web")), b: of("1", file("/b/web")), one: true},
		"they say that they are two":         {a: of("1", file("/a/web")), b: of("2", file("/b/web"))},
		"a stream":                           {a: file("/a/web"), b: func(s *Snapshot) { s.Source = Source{Kind: "stream", Path: "-"} }, one: true},
		"one name was given, and take turns": {a: func(s *Snapshot) { file("/a/x")(s); s.Name = "vm" }, b: func(s *Snapshot) { file("/b/y")(s); s.Name = "vm" }},
	} {
		for seed := range uint64(300) {
			rnd := rand.New(rand.NewPCG(seed, 11))
			now := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
			var all []*Snapshot
			parts := [2][]*Snapshot{}
			// The disks take turns at both ends, so that neither comes only after the other.
			for i := range 4 + rnd.IntN(30) {
				n := i % 2
				if i > 2 {
					n = rnd.IntN(2)
				}
				s := &Snapshot{ID: pack.FileID{byte(i + 1)}, Name: "a/web", Host: "a", Size: 10, Time: now.Add(time.Duration(i-50) * 7 * time.Hour)}
				[2]disk{c.a, c.b}[n](s)
				all, parts[n] = append(all, s), append(parts[n], s)
			}
			if name == "one name was given, and take turns" {
				last := &Snapshot{ID: pack.FileID{200}, Host: "a", Size: 10, Time: now.Add(-time.Hour)}
				n := 0
				if all[len(all)-1].Source.Path == "/a/x" {
					n = 1
				}
				[2]disk{c.a, c.b}[n](last)
				all, parts[n] = append(all, last), append(parts[n], last)
			}
			p := randomPolicy(rnd)
			want := map[*Snapshot]bool{}
			groups := parts[:]
			if c.one {
				groups = [][]*Snapshot{nil}
				for _, s := range all {
					plain := *s
					plain.Source, plain.Disk, plain.Anatomy = Source{}, "", nil
					groups[0] = append(groups[0], &plain)
				}
			}
			stays := 0
			for _, part := range groups {
				for s := range kept(p, part, now, time.UTC) {
					want[s] = true
					stays++
				}
			}
			got := kept(p, all, now, time.UTC)
			if len(got) != stays {
				t.Fatalf("%s, seed %d: %+v keeps %d, want %d", name, seed, p, len(got), stays)
			}
			for s := range got {
				if !c.one && !want[s] {
					t.Fatalf("%s, seed %d: %+v keeps %v", name, seed, p, s.Time)
				}
			}
		}
	}
}

// TestDatedFiles checks that files with a date in their names are versions of one disk if the user chose the disk's
// name.
func TestDatedFiles(t *testing.T) {
	var all []*Snapshot
	for i := range 9 {
		all = append(all, &Snapshot{ID: pack.FileID{byte(i)}, Name: "vm", Host: "a", Time: time.Unix(int64(i)<<16, 0), Source: Source{Kind: "raw", Path: fmt.Sprint("/backup/vm-", i, ".img")}})
	}
	if n := len(kept(Policy{Last: 2}, all, time.Unix(1<<30, 0), time.UTC)); n != 2 {
		t.Errorf("%d stay", n)
	}
}

// TestDisksAfterForgetting checks that the rest of a disk stays one disk, whichever versions are forgotten. This holds
// even if its first versions do not name their disk.
func TestDisksAfterForgetting(t *testing.T) {
	old := Source{Kind: "raw", Path: "/a/web"}
	var all []*Snapshot
	for i := range 8 {
		s := &Snapshot{ID: pack.FileID{byte(i)}, Name: "a/web", Host: "a", Time: time.Unix(int64(i)<<16, 0), Source: old}
		if i >= 4 { // accepted by --same-disk, and the following nights
			s.Source, s.Disk = Source{Kind: "raw", Path: "/b/web", Place: "/b/web"}, all[3].DiskID()
		}
		all = append(all, s)
	}
	for left := range 1 << len(all) {
		var rest []*Snapshot
		for i, s := range all {
			if left>>i&1 != 0 {
				rest = append(rest, s)
			}
		}
		if got := len(disks(rest)); got > 1 {
			t.Fatalf("%08b: %d disks", left, got)
		}
	}
}

func TestHasDefaultName(t *testing.T) {
	for _, c := range []struct {
		kind, path, name string
		want             bool
	}{
		{"raw", "/a/d", "h/d", true},
		{"raw", `C:\a\d`, "h/d", true},
		{"raw", "/a/d", "vm", false},
		{"nbd", "nbd+unix:///vda?socket=/run/s", "h/vda", true},
		{"nbd", "nbd+unix:///vda?socket=/run/s", "h/s", false},
		{"nbd", "nbd+unix:///?socket=/run/s", "h/s", true},
	} {
		s := &Snapshot{Host: "h", Name: c.name, Source: Source{Kind: c.kind, Path: c.path}}
		if got := s.hasDefaultName(); got != c.want {
			t.Errorf("%+v: %t", c, got)
		}
	}
}
