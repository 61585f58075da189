package anatomy

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"platter/snapshot/image"
	"platter/snapshot/image/gpt"
)

// A foreign file holds a disk, or files, in a way that only other programs read. Stored as if it were a disk, it is
// restored byte for byte. But its partitions cannot be examined, and two versions share almost no data.
type foreign struct {
	name  string // in JSON
	at    int64  // byte of the magic; negative from the end
	magic string
	what  string              // for display
	how   string              // how to store its content
	holds func(b []byte) bool // a further test, of the first sector, or the last; nil for none
}

// unpacked says how to store the output of a decompressor.
func unpacked(command string) string {
	return fmt.Sprintf("store the disk in it instead: '%s FILE | platter backup - --name NAME'", command)
}

const (
	converted   = "to store the disk in it, convert it first: 'qemu-img convert -O qcow2 FILE NEW'"
	itself      = "to store the disk in it, name the file as the source (no stream), without --format raw"
	restoredBy  = "restore it to a disk or a file with the program that made it, and back that up"
	unwrapped   = "unpack it, and back up the disk image in it"
	filesNoDisk = "it holds files and not a disk: restore them to a disk, and back that up"
)

// foreigns are recognised by a magic that no disk begins or ends with. If a disk could have the magic by chance,
// there is a second test.
var foreigns = []foreign{
	{"gzip", 0, "\x1f\x8b\x08", "a gzip file", unpacked("gunzip -c"), func(b []byte) bool { return b[3]&0xe0 == 0 }},
	{"xz", 0, "\xfd7zXZ\x00", "an xz file", unpacked("xz -dc"), nil},
	{"zstd", 0, "\x28\xb5\x2f\xfd", "a zstd file", unpacked("zstd -dc"), nil},
	{"zstd", 0, "\x50\x2a\x4d\x18", "a zstd file", unpacked("zstd -dc"), nil}, // of pzstd
	{"bzip2", 0, "BZh", "a bzip2 file", unpacked("bunzip2 -c"), func(b []byte) bool {
		return b[3] >= '1' && b[3] <= '9' && (string(b[4:10]) == "1AY&SY" || string(b[4:10]) == "\x17\x72\x45\x38\x50\x90")
	}},
	{"lz4", 0, "\x04\x22\x4d\x18", "an lz4 file", unpacked("lz4 -dc"), nil},
	{"lz4", 0, "\x02\x21\x4c\x18", "an lz4 file", unpacked("lz4 -dc"), nil},
	{"lzip", 0, "LZIP\x01", "an lzip file", unpacked("lzip -dc"), nil},
	{"lzop", 0, "\x89LZO\x00\r\n\x1a\n", "an lzop file", unpacked("lzop -dc"), nil},
	{"lrzip", 0, "LRZI\x00", "an lrzip file", unpacked("lrzip -d -o -"), nil},
	{"compress", 0, "\x1f\x9d\x90", "a compressed file (.Z)", unpacked("uncompress -c"), nil},

	{"zip", 0, "PK\x03\x04", "a ZIP archive", unwrapped, func(b []byte) bool { return b[5] == 0 && b[4] <= 63 }},
	{"7z", 0, "7z\xbc\xaf\x27\x1c", "a 7-Zip archive", unwrapped, nil},
	{"rar", 0, "Rar!\x1a\x07", "a RAR archive", unwrapped, nil},
	{"xva", 257, "ustar", "an XVA of XenServer", "import it, and back up the machine's disk", func(b []byte) bool {
		return isTar(b) && string(b[:8]) == "ova.xml\x00"
	}},
	{"ova", 257, "ustar", "an OVA", "unpack it with tar, and back up the disk image (VMDK) in it", func(b []byte) bool {
		name, _, _ := bytes.Cut(b[:100], []byte{0})
		return isTar(b) && strings.HasSuffix(strings.ToLower(string(name)), ".ovf")
	}},
	{"tar", 257, "ustar", "a tar archive", unwrapped, func(b []byte) bool { return isTar(b) }},

	{"ewf", 0, "EVF\x09\x0d\x0a\xff\x00", "an image of EnCase (E01)", "export the disk: 'ewfexport -f raw FILE', or ewfmount", nil},
	{"ewf", 0, "EVF2\x0d\x0a\x81\x00", "an image of EnCase (Ex01)", "export the disk: 'ewfexport -f raw FILE', or ewfmount", nil},
	{"ewf", 0, "LVF\x09\x0d\x0a\xff\x00", "logical evidence of EnCase (L01)", filesNoDisk, nil},
	{"ewf", 0, "LEF2\x0d\x0a\x81\x00", "logical evidence of EnCase (Lx01)", filesNoDisk, nil},
	{"aff", 0, "AFF10\x0d\x0a\x00", "an AFF image", "export the disk: 'affcat FILE | platter backup - --name NAME'", nil},
	{"qed", 0, "QED\x00", "a QED image of QEMU", converted, nil},
	{"parallels", 0, "WithoutFreeSpace", "a disk of Parallels (HDS)", converted, nil},
	{"parallels", 0, "WithouFreSpacExt", "a disk of Parallels (HDS)", converted, nil},
	{"bochs", 0, "Bochs Virtual HD Image", "a disk of Bochs", converted, nil},
	{"cloop", 0, "#!/bin/sh\n#V2.0 Format\n", "a compressed image (cloop)", converted, nil},
	{"android", 0, "\x3a\xff\x26\xed\x01\x00", "a sparse image of Android", "convert it to a disk: 'simg2img FILE NEW'", nil},
	{"chd", 0, "MComprHD", "a CHD image", "extract the disk with chdman", nil},
	{"dmg", -512, "koly\x00\x00\x00\x04\x00\x00\x02\x00", "a disk image of macOS (DMG)", "convert it to a disk: 'dmg2img FILE NEW', or 'hdiutil convert'", nil},
	{"dmg", 0, "encrcdsa", "an encrypted disk image of macOS (DMG)", "convert it on a Mac: 'hdiutil convert'", nil},
	{"dmg", 0, "sprs\x00\x00", "a sparse image of macOS", "convert it on a Mac: 'hdiutil convert'", nil},
	{"wim", 0, "MSWIM\x00\x00\x00", "a WIM or ESD of Windows", filesNoDisk, nil},
	{"wim", 0, "WLPWM\x00\x00\x00", "a WIM of Windows", filesNoDisk, nil},
	{"vma", 0, "VMA\x00\x00\x00\x00\x01", "a backup of Proxmox (VMA)", "extract the disks: 'vma extract FILE FOLDER'", nil},

	{"partclone", 0, "partclone-image", "an image of partclone, as of Clonezilla", "restore it: 'partclone.restore -C -s FILE -O NEW'", nil},
	{"partimage", 0, "PaRtImAgE-VoLuMe", "an image of partimage", restoredBy, nil},
	{"ntfsclone", 0, "\x00ntfsclone-image", "an image of ntfsclone", "restore it: 'ntfsclone --restore-image --overwrite NEW FILE'", nil},
	{"fsarchiver", 0, "FsA0", "an archive of fsarchiver", restoredBy, func(b []byte) bool { return bytes.Contains(b, []byte("FsArCh_")) }},
	{"ghost", 0, "\xfe\xef\x01", "an image of Norton Ghost", restoredBy, func(b []byte) bool { return b[3] < 16 && !gpt.IsBootSector(b) }},
	{"acronis", 0, "\xb4\x6e\x68\x44", "a backup of Acronis True Image", restoredBy, func(b []byte) bool { return !gpt.IsBootSector(b) }},
	{"rbd", 0, "rbd diff v", "an export of Ceph (rbd export-diff)", "import it, and back up 'rbd export POOL/IMAGE -'", nil},
	{"rbd", 0, "rbd image v", "an export of Ceph (rbd export, format 2)", "back up 'rbd export --export-format 1 POOL/IMAGE -'", nil},
	{"zfs", 8, "\xac\xcb\xba\xf5\x02\x00\x00\x00", "a stream of zfs send", "back up the volume itself: /dev/zvol/POOL/VOLUME@SNAPSHOT", nil},
	{"zfs", 8, "\x00\x00\x00\x02\xf5\xba\xcb\xac", "a stream of zfs send", "back up the volume itself: /dev/zvol/POOL/VOLUME@SNAPSHOT", nil},
	{"btrfs", 0, "btrfs-stream\x00", "a stream of btrfs send", filesNoDisk, nil},
	{"xfsdump", 0, "xFSdump0", "a dump of xfsdump", filesNoDisk, nil},
	{"age", 0, "age-encryption.org/v1\n", "a file that age encrypted", "decrypt it, and back up its content: platter encrypts what it stores", nil},
	{"openssl", 0, "Salted__", "a file that openssl encrypted", "decrypt it, and back up its content: platter encrypts what it stores", nil},

	{"qcow2", 0, "QFI\xfb\x00\x00\x00", "a qcow image", itself, nil},
	{"vmdk", 0, "KDMV", "a VMDK", itself, func(b []byte) bool { return b[4] < 4 && b[5]|b[6]|b[7] == 0 }},
	{"vmdk", 0, "COWD\x01\x00\x00\x00", "a VMDK of ESX", converted, nil},
	{"vmdk", 0, "\xbe\xba\xfe\xca\x00\x00\x00\x00", "a VMDK of ESXi", converted, nil},
	{"vmdk", 0, "# Disk DescriptorFile", "the descriptor of a VMDK, which names the files with the data", itself, nil},
	{"vdi", 64, "\x7f\x10\xda\xbe", "a VDI", itself, nil},
	{"vhdx", 0, "vhdxfile", "a VHDX", itself, nil},
	{"vhd", 0, "conectix", "a VHD", itself, func(b []byte) bool { return isVHD(b) }},
	{"vhd", -512, "conectix", "a VHD (its last sector is no part of the disk)", itself, func(b []byte) bool { return isVHD(b) }},
}

// isTar reports whether a tar header with the right magic has the right checksum.
func isTar(b []byte) bool {
	const at, n = 148, 8
	want, err := strconv.ParseInt(strings.Trim(string(b[at:at+n]), "\x00 "), 8, 32)
	sum := int64(n * ' ')
	for i, c := range b[:512] {
		if i < at || i >= at+n {
			sum += int64(c)
		}
	}
	return err == nil && sum == want
}

// isVHD reports whether the footer of a VHD has the right checksum.
func isVHD(b []byte) bool {
	const at = 64
	var sum uint32
	for i, c := range b[:512] {
		if i < at || i >= at+4 {
			sum += uint32(c)
		}
	}
	return be.Uint32(b[at:]) == ^sum
}

const containerNote = "this is "

// IsContainerNote reports whether a disk's note says what the file is instead of a disk.
func IsContainerNote(note string) bool { return strings.HasPrefix(note, containerNote) }

// Container recognises a file that is clearly no disk. It returns its name for programs and a note for the user, or ""
// if it may be a disk.
func Container(disk image.Disk) (name, note string) {
	defer func() {
		if recover() != nil {
			name, note = "", ""
		}
	}()
	r := newReader(disk, 0)
	return r.container(r.section(0, r.size), &Disk{})
}

// container does as Container for a disk described by d. A disk with a table or a file system is a disk, unless its
// end says otherwise.
func (r *reader) container(whole *section, d *Disk) (name, note string) {
	head, tail := padded(whole.at(0, int(min(r.size, 512)))), padded(whole.at(max(r.size-512, 0), int(min(r.size, 512))))
	for _, f := range foreigns {
		b, at := head, f.at
		if at < 0 {
			b, at = tail, at+512
		} else if d.Table != "" || d.Content != nil {
			continue
		}
		if strings.HasPrefix(string(b[at:]), f.magic) && (f.holds == nil || f.holds(b)) {
			return f.name, fmt.Sprintf(containerNote+"%s: it is stored as it is, not as the disk in it; %s", f.what, f.how)
		}
	}
	return "", ""
}

// padded returns a sector that begins with p.
func padded(p []byte) []byte {
	sector := make([]byte, 512)
	copy(sector, p)
	return sector
}
