package anatomy

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"platter/snapshot/image"
	"platter/snapshot/image/oracle"
)

// paste writes one file into another and syncs it.
func paste(t testing.TB, to string, off int64, from string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(to, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.WriteAt(data, off)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
}

// readFile reads the anatomy of a file or a device.
func readFile(t testing.TB, path string) *Disk {
	t.Helper()
	f, err := image.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	return read(newReader(f, f.Identity().SectorSize))
}

// blkid returns what blkid finds, without its cache.
func blkid(t testing.TB, path string) map[string]string {
	t.Helper()
	found := map[string]string{}
	out, err := oracle.Command(t, "blkid", "-p", "-o", "udev", path).Output()
	if exit, ok := err.(*exec.ExitError); err != nil && (!ok || exit.ExitCode() != 2) { // 2: nothing found
		t.Fatalf("blkid: %v", err)
	}
	escape := regexp.MustCompile(`\\x[0-9a-f]{2}`)
	for line := range strings.SplitSeq(string(out), "\n") {
		if key, value, ok := strings.Cut(line, "="); ok {
			found[strings.TrimPrefix(key, "ID_FS_")] = escape.ReplaceAllStringFunc(value, func(s string) string {
				c, _ := hex.DecodeString(s[2:])
				return string(c)
			})
		}
	}
	return found
}

// sameAsBlkid compares content with blkid's result for the same file.
func sameAsBlkid(t *testing.T, path string, got *Content) {
	t.Helper()
	want := blkid(t, path)
	if got == nil {
		t.Fatalf("no content found; blkid says %v", want)
	}
	if got.Type != want["TYPE"] || got.Label != want["LABEL_ENC"] || got.UUID != want["UUID_ENC"] {
		t.Errorf("found %+v, blkid says %v", *got, want)
	}
}

// TestFileSystems compares with blkid on file systems made by their tools.
func TestFileSystems(t *testing.T) {
	const mib = 1 << 20
	const id = "5a1e0000-0000-4000-8000-00000000000a"
	for _, c := range []struct {
		name    string
		size    int64
		make    string // %s is the file
		version string
		want    int64 // expected size in bytes; −1 for the size that the file system states
	}{
		{"ext2", 8 * mib, "mkfs.ext2 -q -F -L small -U " + id + " %s", "", 8 * mib},
		{"ext3", 16 * mib, "mkfs.ext3 -q -F -L three -U " + id + " %s", "", 16 * mib},
		{"ext4", 64 * mib, "mkfs.ext4 -q -F -L grünes -U " + id + " %s", "", 64 * mib},
		{"ext4 without label", 64 * mib, "mkfs.ext4 -q -F -b 1024 -O ^metadata_csum %s 60M", "", 60 * mib},
		{"journal", 64 * mib, "mkfs.ext4 -q -F -O journal_dev -L log %s", "", 64 * mib},
		{"xfs", 320 * mib, "mkfs.xfs -q -L data -m uuid=" + id + " %s", "", 320 * mib},
		{"xfs 4K", 320 * mib, "mkfs.xfs -q -s size=4096 -b size=8192 %s", "", 320 * mib},
		{"btrfs", 128 * mib, "mkfs.btrfs -q -L pool -U " + id + " %s", "", 128 * mib},
		{"fat12", 4 * mib, "mkfs.vfat -F 12 -n FLOPPY -i 1234abcd %s", "FAT12", 4 * mib},
		{"fat16", 32 * mib, "mkfs.vfat -F 16 -n SIXTEEN %s", "FAT16", 32 * mib},
		{"fat32", 64 * mib, "mkfs.vfat -F 32 -n MY_DISK %s", "FAT32", 64 * mib},
		{"fat32 without label", 64 * mib, "mkfs.vfat -F 32 -s 8 %s", "FAT32", 64 * mib},
		{"fat32 4K", 300 * mib, "mkfs.vfat -F 32 -S 4096 -n FOURK %s", "FAT32", 300 * mib},
		{"exfat", 32 * mib, "mkfs.exfat -n Größe %s", "", 32 * mib},
		{"exfat without label", 32 * mib, "mkfs.exfat %s", "", 32 * mib},
		{"ntfs", 32 * mib, "mkfs.ntfs -q -F -f -L Windöws %s", "", 32*mib - 512},
		{"ntfs 64K", 64 * mib, "mkfs.ntfs -q -F -f -c 65536 %s", "", -1},
		{"luks1", 32 * mib, "cryptsetup -q luksFormat --type luks1 --pbkdf-force-iterations 1000 --uuid " + id + " %s -", "1", 0},
		{"luks2", 32 * mib, "cryptsetup -q luksFormat --type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 --label vault %s -", "2", 0},
		{"swap", 16 * mib, "mkswap -q -L swp -U " + id + " %s", "1", 16 * mib},
		{"swap 64K", 16 * mib, "mkswap -q -p 65536 %s", "1", 16 * mib},
		{"f2fs", 64 * mib, "mkfs.f2fs -q -l flash %s", "1.16", -1},
		{"apfs", 600 * mib, "mkapfs -L mac -U " + id + " %s", "", 600 * mib},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := oracle.Blank(t, c.size)
			args := strings.Fields(strings.ReplaceAll(c.make, "%s", path))
			oracle.Feed(t, "secret", args[0], args[1:]...)
			d := readFile(t, path)
			sameAsBlkid(t, path, d.Content)
			if d.Content.Version != c.version && !strings.HasPrefix(c.name, "f2fs") {
				t.Errorf("version %q, want %q", d.Content.Version, c.version)
			}
			if c.want < 0 {
				if d.Content.Size < c.size/2 || d.Content.Size > c.size {
					t.Errorf("%d bytes long, but the file has %d", d.Content.Size, c.size)
				}
			} else if d.Content.Size != c.want {
				t.Errorf("%d bytes long, want %d", d.Content.Size, c.want)
			}
			if d.Table != "" || len(d.Partitions) > 0 || len(d.Notes) > 0 {
				t.Errorf("found %+v, want only a file system", d)
			}
		})
	}
}

// TestImages does the same for images made from a folder.
func TestImages(t *testing.T) {
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "file"), []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, make := range map[string]string{
		"iso":      "genisoimage -quiet -V DEBIAN_12 -o %s " + folder,
		"joliet":   "genisoimage -quiet -J -r -V A_rather_long_label_of_a_disk -o %s " + folder,
		"squashfs": "mksquashfs " + folder + " %s -quiet -no-progress -noappend",
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "disk")
			args := strings.Fields(strings.ReplaceAll(make, "%s", path))
			oracle.Run(t, args[0], args[1:]...)
			d := readFile(t, path)
			sameAsBlkid(t, path, d.Content)
			if info, err := os.Stat(path); err != nil || d.Content.Size > info.Size() || d.Content.Size < info.Size()/100 {
				t.Errorf("%d bytes long, but the file has %d (%v)", d.Content.Size, info.Size(), err)
			}
		})
	}
}

// TestLVM needs a device to make a physical volume on.
func TestLVM(t *testing.T) {
	path := oracle.Blank(t, 64<<20)
	device := oracle.Loop(t, path)
	oracle.Run(t, "pvcreate", "--driverloaded", "n", "-ff", "-y", "--config", "devices{use_devicesfile=0}", device)
	d := readFile(t, device)
	sameAsBlkid(t, device, d.Content)
	if d.Content.Size != 64<<20 {
		t.Errorf("%d bytes long, want 64 MiB", d.Content.Size)
	}
}

// An sfdiskTable is a table as sfdisk prints it.
type sfdiskTable struct {
	PartitionTable struct {
		Label, ID  string
		SectorSize int64
		Partitions []struct {
			Node, Type, UUID, Name string
			Start, Size            int64
			Bootable               bool
		}
	}
}

// sameAsSfdisk compares a table with sfdisk's result for the same disk.
func sameAsSfdisk(t *testing.T, path string, d *Disk) {
	t.Helper()
	var want sfdiskTable
	if err := json.Unmarshal([]byte(oracle.Run(t, "sfdisk", "-J", path)), &want); err != nil {
		t.Fatal(err)
	}
	table := want.PartitionTable
	if label := map[string]string{"dos": MBR, "gpt": GPT}[table.Label]; d.Table != label || d.SectorSize != table.SectorSize ||
		!strings.EqualFold(strings.TrimPrefix(table.ID, "0x"), d.ID) || len(d.Partitions) != len(table.Partitions) {
		t.Fatalf("found %+v, sfdisk says %+v", d, table)
	}
	for i, p := range d.Partitions {
		w := table.Partitions[i]
		boot := false
		for _, f := range p.Flags {
			boot = boot || f == flagBoot
		}
		number := strings.TrimLeft(strings.TrimPrefix(w.Node, path), "p")
		wantType := strings.ToLower(w.Type)
		if d.Table == MBR {
			wantType = "0x" + wantType
		}
		if number != strconv.Itoa(p.Number) || p.Off != w.Start*d.SectorSize || p.Len != w.Size*d.SectorSize || p.Type != wantType || p.Name != w.Name ||
			w.UUID != "" && !strings.EqualFold(p.UUID, w.UUID) || d.Table == MBR && boot != w.Bootable {
			t.Errorf("found %+v, sfdisk says %+v", p, w)
		}
	}
}

// tables are scripts for sfdisk.
var tables = map[string]string{
	"gpt": `label: gpt
size=40M, type=U, name="EFI System Partition"
start=100M, size=20M, type=S, name="tauschen ändern"
size=1M, type=21686148-6449-6E6F-744E-656564454649, attrs="LegacyBIOSBootable,RequiredPartition"
`,
	"gpt with gaps in numbers": `label: gpt
label-id: 5A1E0000-0000-4000-8000-000000000000
unit: sectors
disk5 : start=40960, size=8192, uuid=5A1E0000-0000-4000-8000-000000000005
disk128 : start=81920, size=8192
`,
	"mbr": `label: dos
label-id: 0x1234abcd
size=40M, type=c, bootable
size=20M, type=82
size=20M, type=83
`,
	"mbr with logical partitions": `label: dos
size=40M, type=7
size=100M, type=5
size=20M, type=83
size=10M, type=83
size=20M, type=82
size=5M, type=8e
size=7M, type=83, bootable
`,
	"mbr, extended first": `label: dos
size=60M, type=f
size=20M, type=83
size=10M, type=83, start=110M
size=10M, type=83
size=20M, type=82
`,
}

func TestTables(t *testing.T) {
	for name, script := range tables {
		t.Run(name, func(t *testing.T) {
			path := oracle.Blank(t, 200<<20)
			oracle.Feed(t, script, "sfdisk", "-q", path)
			d := readFile(t, path)
			sameAsSfdisk(t, path, d)
			if len(d.Notes) > 0 {
				t.Errorf("notes %q", d.Notes)
			}
		})
	}
}

// TestLargeSectors reads tables of disks with sectors of 4096 bytes: from a device, and from an image, which does not
// record the length.
func TestLargeSectors(t *testing.T) {
	for _, name := range []string{"gpt", "mbr with logical partitions"} {
		t.Run(name, func(t *testing.T) {
			path := oracle.Blank(t, 200<<20)
			device := oracle.Loop(t, path, "--sector-size", "4096")
			oracle.Feed(t, tables[name], "sfdisk", "-q", "--no-reread", device)
			want := readFile(t, device)
			part := oracle.Blank(t, 30<<20)
			oracle.Run(t, "mkfs.vfat", "-S", "4096", "-n", "FIRST", part)
			paste(t, device, want.Partitions[0].Off, part)
			for _, from := range []string{device, path} {
				d := readFile(t, from)
				sameAsSfdisk(t, device, d)
				if d.SectorSize != 4096 || d.Partitions[0].Content == nil || d.Partitions[0].Content.Label != "FIRST" {
					t.Errorf("%s: found %+v", from, d)
				}
			}
		})
	}
}
