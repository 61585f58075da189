package anatomy

import (
	"bytes"
	"fmt"
	"math/bits"

	"platter/snapshot/image/gpt"
)

// dirEntry is the length of a directory entry in FAT and exFAT, in bytes.
const dirEntry = 32

// Limits of the search for a label, which is usually among the first entries of a root folder. Like blkid, it reads
// at most maxClusters clusters. It also limits the bytes of each cluster and of all.
const (
	maxClusters = 100
	maxFolder   = 64 << 10
	maxFolders  = 1 << 20
)

// A fatLayout is the layout of a FAT file system, in bytes unless said otherwise.
type fatLayout struct {
	sector, cluster   int64
	table, root, data int64 // the first file allocation table; the root folder of FAT12 and FAT16; cluster 2
	rootEntries       int
	clusters          uint32 // their number
	sectors           uint64
	is32              bool
}

// parseFAT checks a boot sector's fields: FAT has no signature that all programs write.
func parseFAT(b []byte) (l fatLayout, ok bool) {
	sector := le.Uint16(b[11:])
	perCluster, reserved, fats, media := b[13], le.Uint16(b[14:]), b[16], b[21]
	if !gpt.IsBootSector(b) || b[0] != 0xeb && b[0] != 0xe9 && !bytes.Equal(b[54:57], []byte("FAT")) && !bytes.Equal(b[82:85], []byte("FAT")) ||
		string(b[54:62]) == "JFS     " || string(b[54:62]) == "HPFS    " ||
		sector < 512 || sector > 4096 || bits.OnesCount16(sector) != 1 || bits.OnesCount8(perCluster) != 1 ||
		reserved == 0 || fats == 0 || media < 0xf8 && media != 0xf0 {
		return l, false
	}
	l.sector, l.cluster = int64(sector), int64(sector)*int64(perCluster)
	l.rootEntries = int(le.Uint16(b[17:]))
	if l.sectors = uint64(le.Uint16(b[19:])); l.sectors == 0 {
		l.sectors = uint64(le.Uint32(b[32:]))
	}
	fatLen := uint64(le.Uint16(b[22:]))
	if l.is32 = fatLen == 0; l.is32 {
		fatLen = uint64(le.Uint32(b[36:]))
	}
	dir := (uint64(l.rootEntries)*dirEntry + uint64(sector) - 1) / uint64(sector)
	before := uint64(reserved) + fatLen*uint64(fats)
	if fatLen == 0 || before+dir >= l.sectors {
		return l, false
	}
	l.table, l.root, l.data = int64(reserved)*l.sector, int64(before)*l.sector, int64(before+dir)*l.sector
	l.clusters = uint32((l.sectors - before - dir) / uint64(perCluster))
	return l, true
}

// fat finds FAT12, FAT16 or FAT32. The number of clusters decides, except that FAT32 has its own layout.
func fat(s *section) *found {
	b := s.at(0, 512)
	if b == nil {
		return nil
	}
	l, ok := parseFAT(b)
	if !ok || bitlocker(s) != nil {
		return nil
	}
	c := Content{Type: "vfat", Version: "FAT32", Size: product(l.sectors, uint64(l.sector))}
	ext := b[64:] // drive, flags, signature, serial, label
	switch {
	case l.is32:
	case l.clusters < 0xff4:
		c.Version, ext = "FAT12", b[36:]
	case l.clusters < 0xfff4:
		c.Version, ext = "FAT16", b[36:]
	default:
		return nil
	}
	if l.is32 || ext[2] == 0x28 || ext[2] == 0x29 {
		c.UUID = serial(ext[3:])
	}
	c.Label = label(l.label(s, le.Uint32(b[44:])))
	return s.found(0, c).in(l.sector)
}

// label returns the volume label in the root folder, or nil if there is none. It ignores the boot sector's label:
// systems that change or delete the label leave the old one there.
func (l *fatLayout) label(s *section, cluster uint32) []byte {
	if !l.is32 {
		return findLabel(s.at(l.root, min(l.rootEntries*dirEntry, maxFolder)))
	}
	n := min(l.cluster, maxFolder)
	for range min(maxClusters, maxFolders/n) {
		if cluster < 2 || cluster-2 >= l.clusters {
			break
		}
		if name := findLabel(s.at(l.data+int64(cluster-2)*l.cluster, int(n))); name != nil {
			return name
		}
		next := s.at(l.table+4*int64(cluster), 4)
		if next == nil {
			break
		}
		cluster = le.Uint32(next) & 0x0fffffff
	}
	return nil
}

// findLabel looks for a volume label in the entries of a folder.
func findLabel(dir []byte) []byte {
	for ; len(dir) >= dirEntry && dir[0] != 0; dir = dir[dirEntry:] {
		attributes := dir[11] & 0x3f
		if dir[0] == 0xe5 || attributes == 0x0f || attributes&0x18 != 0x08 || le.Uint16(dir[20:]) != 0 || le.Uint16(dir[26:]) != 0 {
			continue
		}
		name := bytes.Clone(dir[:11])
		if name[0] == 0x05 {
			name[0] = 0xe5
		}
		return name
	}
	return nil
}

// exfat begins with its boot sector; its label is an entry of the root folder.
func exfat(s *section) *found {
	b := s.at(0, 512)
	if b == nil || string(b[:11]) != "\xeb\x76\x90EXFAT   " || !gpt.IsBootSector(b) || b[108] < 9 || b[108] > 12 || b[109] > 25-b[108] {
		return nil
	}
	sector, cluster := int64(1)<<b[108], int64(1)<<(b[108]+b[109])
	table, heap, clusters := int64(le.Uint32(b[80:])), int64(le.Uint32(b[88:])), le.Uint32(b[92:])
	c := Content{Type: "exfat", UUID: serial(b[100:]), Size: product(le.Uint64(b[72:]), uint64(sector))}
	at := le.Uint32(b[96:])
	n := min(cluster, maxFolder)
	for range min(maxClusters, maxFolders/n) {
		if at < 2 || at-2 >= clusters {
			break
		}
		dir := s.at(heap*sector+int64(at-2)*cluster, int(n))
		for ; len(dir) >= dirEntry && dir[0] != 0; dir = dir[dirEntry:] {
			if dir[0] == 0x83 {
				c.Label = label16(dir[2:2+2*min(int(dir[1]), 11)], le)
				return s.found(0, c).in(sector)
			}
		}
		next := s.at(table*sector+4*int64(at), 4)
		if len(dir) > 0 || next == nil {
			break
		}
		at = le.Uint32(next)
	}
	return s.found(0, c).in(sector)
}

// ntfs begins with its boot sector. Its label is in the fourth record of its master file table.
func ntfs(s *section) *found {
	b := s.at(0, 512)
	if b == nil || string(b[3:11]) != "NTFS    " {
		return nil
	}
	sector, perCluster := uint64(le.Uint16(b[11:])), uint64(b[13])
	if perCluster > 128 {
		perCluster = 1 << (256 - perCluster) // it is a negated logarithm
	}
	if sector < 256 || sector > 4096 || sector&(sector-1) != 0 || perCluster == 0 || perCluster&(perCluster-1) != 0 ||
		sector*perCluster > 2<<20 || le.Uint16(b[14:]) != 0 || b[16] != 0 || le.Uint16(b[22:]) != 0 {
		return nil
	}
	c := Content{Type: "ntfs", UUID: fmt.Sprintf("%016X", le.Uint64(b[72:])), Size: product(le.Uint64(b[40:]), sector)}
	record := uint64(1) << (-int8(b[64]) & 31)
	if int8(b[64]) > 0 {
		record = uint64(b[64]) * sector * perCluster
	}
	table := product(le.Uint64(b[48:]), sector*perCluster)
	if table >= 0 && record >= 512 && record <= 64<<10 {
		c.Label = ntfsLabel(s.at(table+int64(3*record), int(record)))
	}
	return s.found(0, c)
}

// ntfsLabel finds the volume name in the attributes of a record.
func ntfsLabel(record []byte) string {
	const volumeName = 0x60
	if len(record) < 512 || string(record[:4]) != "FILE" {
		return ""
	}
	record = bytes.Clone(record)
	// A mark replaces the last two bytes of every 512; a list at the beginning holds the originals.
	marks, count := int(le.Uint16(record[4:])), int(le.Uint16(record[6:]))
	for i := 1; i < count && 512*i <= len(record) && marks+2*i+2 <= len(record); i++ {
		copy(record[512*i-2:512*i], record[marks+2*i:])
	}
	for at := int(le.Uint16(record[20:])); at+24 <= len(record); {
		a := record[at:]
		kind, n := le.Uint32(a), le.Uint32(a[4:])
		if n < 24 || uint64(n) > uint64(len(a)) {
			break
		}
		if kind == volumeName && a[8] == 0 { // the value is in the record
			from, length := uint64(le.Uint16(a[20:])), uint64(le.Uint32(a[16:]))
			if from+length > uint64(n) {
				break
			}
			return label16(a[from:from+length], le)
		}
		at += int(n)
	}
	return ""
}
