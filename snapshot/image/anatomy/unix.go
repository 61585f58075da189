package anatomy

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"math/bits"
)

// Features of ext file systems. One that ext3 does not know means ext4.
const (
	extHasJournal   = 0x4
	extJournalDev   = 0x8
	ext64Bit        = 0x80
	extMetadataSums = 0x400
	ext3Incompat    = 0x2 | 0x4 | 0x10
	ext3ReadOnly    = 0x1 | 0x2 | 0x4
)

// ext finds ext2, ext3, ext4, or an external journal: a superblock of 1 KiB at byte 1024.
func ext(s *section) *found {
	const start = 1024
	b := s.at(start, 1024)
	if b == nil || le.Uint16(b[56:]) != 0xef53 {
		return nil
	}
	shift, compat, incompat, readOnly := le.Uint32(b[24:]), le.Uint32(b[92:]), le.Uint32(b[96:]), le.Uint32(b[100:])
	if shift > 6 {
		return nil
	}
	if readOnly&extMetadataSums != 0 && ^crc32.Checksum(b[:1020], crc32.MakeTable(crc32.Castagnoli)) != le.Uint32(b[1020:]) {
		return nil
	}
	blocks := uint64(le.Uint32(b[4:]))
	if incompat&ext64Bit != 0 {
		blocks |= uint64(le.Uint32(b[0x150:])) << 32
	}
	c := Content{Type: "ext2", Label: label(b[120:136]), UUID: uuid(b[104:120]), Size: product(blocks, 1024<<shift)}
	switch {
	case incompat&extJournalDev != 0:
		c.Type = "jbd"
	case incompat&^ext3Incompat != 0 || readOnly&^ext3ReadOnly != 0:
		c.Type = "ext4"
	case compat&extHasJournal != 0:
		c.Type = "ext3"
	}
	return s.found(start, c).in(1024 << shift)
}

// xfs begins with its superblock, in big-endian numbers.
func xfs(s *section) *found {
	b := s.at(0, 512)
	if b == nil || !bytes.HasPrefix(b, []byte("XFSB")) {
		return nil
	}
	size, groupLen, groups := be.Uint32(b[4:]), be.Uint32(b[84:]), be.Uint32(b[88:])
	sector, inode, log := be.Uint16(b[102:]), be.Uint16(b[104:]), b[120]
	blocks := be.Uint64(b[8:])
	if log < 9 || log > 16 || size != 1<<log || sector < 512 || bits.OnesCount16(sector) != 1 || bits.OnesCount16(inode) != 1 ||
		blocks == 0 || groups == 0 || blocks > uint64(groups)*uint64(groupLen) {
		return nil
	}
	return s.found(0, Content{Type: "xfs", Label: label(b[108:120]), UUID: uuid(b[32:48]), Size: product(blocks, uint64(size))}).in(int64(sector))
}

// btrfs has its superblock at 64 KiB. The size is that of this device.
func btrfs(s *section) *found {
	const start = 64 << 10
	b := s.at(start, 4096)
	if b == nil || string(b[64:72]) != "_BHRfS_M" || le.Uint64(b[48:]) != start {
		return nil
	}
	return s.found(start, Content{Type: "btrfs", Label: label(b[299:555]), UUID: uuid(b[32:48]), Size: int64(le.Uint64(b[209:]))})
}

// f2fs has its superblock at byte 1024.
func f2fs(s *section) *found {
	const start = 1024
	b := s.at(start, 2048)
	if b == nil || le.Uint32(b) != 0xf2f52010 {
		return nil
	}
	shift := le.Uint32(b[16:])
	if shift < 9 || shift > 16 {
		return nil
	}
	return s.found(start, Content{
		Type: "f2fs", Version: fmt.Sprintf("%d.%d", le.Uint16(b[4:]), le.Uint16(b[6:])),
		Label: label16(b[0x7c:0x7c+1024], le), UUID: uuid(b[0x6c:]), Size: product(le.Uint64(b[36:]), 1<<shift),
	})
}

// swap has its signature at the end of its first page, whose length varies. Hibernation replaces the signature by
// another.
func swap(s *section) *found {
	for page := int64(4096); page <= 64<<10; page *= 2 {
		magic := string(s.at(page-10, 10))
		kind := "swap"
		switch {
		case magic == "SWAP-SPACE":
			return s.found(page-10, Content{Type: kind, Version: "0"})
		case magic == "SWAPSPACE2":
		case magic == "LINHIB0001" || len(magic) == 10 && (magic[:9] == "S1SUSPEND" || magic[:9] == "S2SUSPEND" || magic[:9] == "ULSUSPEND"):
			kind = "swsuspend"
		default:
			continue
		}
		b := s.at(1024, 512)
		if b == nil {
			return nil
		}
		version, last := le.Uint32(b), le.Uint32(b[4:])
		if version != 1 {
			version, last = bits.ReverseBytes32(version), bits.ReverseBytes32(last)
		}
		if version != 1 || last == 0 {
			return nil
		}
		return s.found(page-10, Content{Type: kind, Version: "1", Label: label(b[28:44]), UUID: uuid(b[12:28]), Size: product(uint64(last)+1, uint64(page))})
	}
	return nil
}

// squashfs begins with its superblock.
func squashfs(s *section) *found {
	b := s.at(0, 96)
	if b == nil || string(b[:4]) != "hsqs" || le.Uint16(b[28:]) != 4 {
		return nil
	}
	return s.found(0, Content{Type: "squashfs", Version: fmt.Sprintf("4.%d", le.Uint16(b[30:])), Size: int64(le.Uint64(b[40:]))})
}
